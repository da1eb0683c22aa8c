//! The syntax tree of an expression.

use std::ops::Range;

/// One node and its bytes in the text.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub span: Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    None,
    Bool(bool),
    Int(i64),
    Big(u64),
    Float(f64),
    Text(String),
    Name(String),
    /// `.key` and `['key']`.
    Key {
        base: Box<Node>,
        key: String,
        key_span: Range<usize>,
    },
    /// `[index]` with anything but literal text.
    Index {
        base: Box<Node>,
        index: Box<Node>,
    },
    Slice {
        base: Box<Node>,
        bounds: [Option<Box<Node>>; 3],
    },
    List(Vec<Node>),
    Table(Vec<(Node, Node)>),
    Comprehension(Box<Comprehension>),
    Not(Box<Node>),
    Neg(Box<Node>),
    Binary {
        op: Op,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// `left ?? right`.
    Coalesce {
        left: Box<Node>,
        right: Box<Node>,
    },
    Choice {
        then: Box<Node>,
        condition: Box<Node>,
        otherwise: Box<Node>,
    },
    Filter {
        name: String,
        name_span: Range<usize>,
        base: Box<Node>,
        args: Vec<Arg>,
    },
    Test {
        name: String,
        name_span: Range<usize>,
        base: Box<Node>,
        args: Vec<Arg>,
    },
    Call {
        name: String,
        name_span: Range<usize>,
        args: Vec<Arg>,
    },
}

/// `[value for names in over if only]`, and `{key: value for …}`.
#[derive(Clone, Debug)]
pub(super) struct Comprehension {
    pub names: Vec<(String, Range<usize>)>,
    pub over: Node,
    pub only: Option<Node>,
    pub key: Option<Node>,
    pub value: Node,
}

/// An argument, by position or by name.
#[derive(Clone, Debug)]
pub(super) struct Arg {
    pub name: Option<(String, Range<usize>)>,
    pub value: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
    Add,
    Sub,
    Concat,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
}

impl Op {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Concat => "~",
            Self::Mul => "*",
            Self::Div => "/",
            Self::FloorDiv => "//",
            Self::Rem => "%",
            Self::Pow => "**",
        }
    }

    /// How tightly it binds: larger is tighter.
    pub(super) fn level(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge | Self::In | Self::NotIn => 4,
            Self::Add | Self::Sub => 5,
            Self::Concat => 6,
            Self::Mul | Self::Div | Self::FloorDiv | Self::Rem => 7,
            Self::Pow => 8,
        }
    }
}

impl Node {
    /// The nodes directly below, in the order of the text.
    pub(super) fn children(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Key { base, .. } | Kind::Not(base) | Kind::Neg(base) => vec![base],
            Kind::Index { base, index } => vec![base, index],
            Kind::Slice { base, bounds } => {
                std::iter::once(&**base).chain(bounds.iter().flatten().map(AsRef::as_ref)).collect()
            }
            Kind::List(items) => items.iter().collect(),
            Kind::Table(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            Kind::Comprehension(made) => made.children().collect(),
            Kind::Binary { left, right, .. } | Kind::Coalesce { left, right } => vec![left, right],
            Kind::Choice { then, condition, otherwise } => vec![then, condition, otherwise],
            Kind::Filter { base, args, .. } | Kind::Test { base, args, .. } => {
                std::iter::once(&**base).chain(args.iter().map(|arg| &arg.value)).collect()
            }
            Kind::Call { args, .. } => args.iter().map(|arg| &arg.value).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether this is a name, or something inside one: `a`, `a.b`, `a[0]`.
    pub(super) fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Name(_) | Kind::Key { .. } | Kind::Index { .. })
    }
}
