use std::time::Duration;

use super::fields::Fields;
use super::pipeline::{code, named};
use super::step::Use;
use super::{Name, Node, Raw, Text};
use crate::diag::{Code, Diagnostic, Span};

/// Rounds with carried state.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The most rounds.
    pub max: Option<Text>,
    /// A list to fold over.
    pub over: Option<Text>,
    /// The name of the item.
    pub item: Option<Text>,
    /// First state.
    pub state: Vec<(Name, Text)>,
    /// Names for a round.
    pub lets: Vec<(Name, Text)>,
    /// Next state.
    pub next: Vec<(Name, Text)>,
    /// Named changes of state.
    pub rules: Vec<Rule>,
    /// Conditions that end it.
    pub exits: Vec<LoopExit>,
    /// What its output holds.
    pub result: Option<Text>,
    /// What its output holds if the run pauses in a round.
    pub so_far: Option<Text>,
    /// Failure classes that a round survives.
    pub counts: Option<Vec<Text>>,
    /// The most that one round may spend, by unit.
    pub budget: Vec<(Name, Text)>,
    /// What has to be left before a round begins, by unit.
    pub fund: Vec<(Name, Text)>,
    /// Whether `max` or `over` is written, right or wrong.
    pub bounded: bool,
}

/// A named change of a loop's state.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Name,
    /// When it applies.
    pub when: Text,
    /// What it sets.
    pub set: Vec<(Name, Text)>,
}

/// A condition that ends a loop.
#[derive(Clone, Debug)]
pub struct LoopExit {
    /// The loop's status.
    pub status: Name,
    /// When.
    pub when: Text,
    /// The exit code of a run that ends with this status.
    pub code: Option<i32>,
}

/// Items side by side.
#[derive(Clone, Debug)]
pub struct Each {
    /// The list.
    pub over: Text,
    /// The name of the item.
    pub item: Option<Text>,
    /// A name for each item.
    pub key: Option<Text>,
    /// How many at once.
    pub parallel: Option<Text>,
    /// What an item's failure does.
    pub on_error: Option<Text>,
    /// How many failures are too many.
    pub max_failures: Option<Text>,
    /// What an item leaves behind.
    pub result: Option<Text>,
}

/// A resource around a body.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The resources named; there should be one.
    pub resources: Vec<Use>,
    /// What `result` in the output is.
    pub result: Option<Text>,
}

/// Another pipeline.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub pipeline: Text,
    /// Its inputs.
    pub with: Vec<(Name, Text)>,
    /// Which inputs of the caller it gets as well.
    pub inherit: Option<Inherit>,
}

/// Which inputs of the caller a called pipeline gets.
#[derive(Clone, Debug)]
pub enum Inherit {
    /// All that it has as well; where that is written.
    All(Span),
    /// These.
    Named(Vec<Text>),
}

/// A question to a person.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The question.
    pub question: Text,
    /// Answers to choose from.
    pub choices: Option<Node>,
    /// What a free answer is.
    pub answer: Option<Text>,
    /// What the person is shown.
    pub show: Option<Node>,
    /// What the answer is bound to besides.
    pub binds: Option<Node>,
    /// The answer if no person can be asked.
    pub default: Option<Node>,
    /// How long it stays open.
    pub deadline: Option<Duration>,
    /// The answer at the deadline.
    pub at_deadline: Option<Node>,
}

/// A pure loop in memory.
#[derive(Clone, Debug)]
pub struct Compute {
    /// The seed.
    pub seed: Option<Text>,
    /// First state.
    pub init: Vec<(Name, Text)>,
    /// Names for this round.
    pub lets: Vec<(Name, Text)>,
    /// Next state.
    pub next: Vec<(Name, Text)>,
    /// When to stop.
    pub until: Option<Text>,
    /// The most rounds.
    pub max: Text,
}

type Found = Vec<Diagnostic>;

impl Loop {
    /// Reads the value of `loop`.
    pub fn read(used: Use, found: &mut Found) -> Self {
        let mut fields = Fields::new(used.with, used.name.span, "`loop`", found);
        let rules = named(&mut fields, "rules", rule);
        let exits = named(&mut fields, "exits", exit);
        let counts = fields.entry("counts").map(|entry| {
            let at = entry.key;
            let table = [("counts".to_owned(), entry)].into_iter().collect();
            let node = Node { span: at, value: Raw::Table(table) };
            Fields::new(node, at, "`loop`", fields.found()).texts("counts")
        });
        let read = Self {
            max: fields.expr("max"),
            over: fields.expr("over"),
            item: item(&mut fields),
            state: fields.named_exprs("state"),
            lets: fields.named_exprs("let"),
            next: fields.named_exprs("next"),
            rules,
            exits,
            result: fields.expr("result"),
            so_far: fields.expr("so_far"),
            counts,
            budget: fields.named_exprs("budget"),
            fund: fields.named_exprs("fund"),
            bounded: fields.has("max") || fields.has("over"),
        };
        fields.finish();
        read
    }
}

fn rule(name: Name, node: Node, found: &mut Found) -> Option<Rule> {
    let mut fields = Fields::new(node, name.span, "the rule", found);
    let when = fields.expr("when");
    let when = fields.need("when", when, "say when the rule applies: `when = \"state.n > 2\"`");
    let set = fields.named_exprs("set");
    fields.finish();
    Some(Rule { name, when: when?, set })
}

fn exit(status: Name, node: Node, found: &mut Found) -> Option<LoopExit> {
    let mut fields = Fields::new(node, status.span, "the exit", found);
    let when = fields.expr("when");
    let when = fields.need("when", when, "say when it applies: `when = \"state.best > 95\"`");
    let code = code(&mut fields);
    fields.finish();
    Some(LoopExit { status, when: when?, code })
}

/// The value of `as`, which must be a plain name.
fn item(fields: &mut Fields<'_>) -> Option<Text> {
    let text = fields.text("as")?;
    let plain = text.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if plain {
        return Some(text);
    }
    fields.found().push(
        Diagnostic::new(Code::BadName, format!("`{}` cannot name an item", text.text))
            .at(text.span, "")
            .help("a name begins with a letter or `_`, then letters, digits and `_`"),
    );
    None
}

impl Each {
    /// Reads the value of `each`.
    pub fn read(used: Use, found: &mut Found) -> Option<Self> {
        let mut fields = Fields::new(used.with, used.name.span, "`each`", found);
        let over = fields.expr("over");
        let over = fields.need("over", over, "name the list: `over = \"inputs.files\"`");
        let item = item(&mut fields);
        let (key, parallel, on_error) =
            (fields.expr("key"), fields.expr("parallel"), fields.text("on_error"));
        let (max_failures, result) = (fields.expr("max_failures"), fields.expr("result"));
        fields.finish();
        Some(Self { over: over?, item, key, parallel, on_error, max_failures, result })
    }
}

impl Hold {
    /// Reads the value of `hold`.
    pub fn read(used: Use, found: &mut Found) -> Option<Self> {
        let mut fields = Fields::new(used.with, used.name.span, "`hold`", found);
        if !fields.is_table() {
            return None;
        }
        let result = fields.expr("result");
        let resources = fields
            .rest()
            .into_iter()
            .map(|(text, entry)| Use { name: Name { text, span: entry.key }, with: entry.node })
            .collect();
        Some(Self { resources, result })
    }
}

impl Call {
    /// Reads the value of `call`.
    pub fn read(used: Use, found: &mut Found) -> Option<Self> {
        let mut fields = Fields::new(used.with, used.name.span, "`call`", found);
        let pipeline = fields.text("pipeline");
        let pipeline = fields.need("pipeline", pipeline, "name the pipeline: `pipeline = \"preflight\"`");
        let with = fields.named_exprs("with");
        let inherit = inherit(&mut fields);
        fields.finish();
        Some(Self { pipeline: pipeline?, with, inherit })
    }
}

/// `inherit` of a `call`: `true`, or a list of names.
fn inherit(fields: &mut Fields<'_>) -> Option<Inherit> {
    let node = fields.node("inherit")?;
    let names = |items: &[Node]| items.iter().map(Node::text).collect::<Option<Vec<_>>>();
    match &node.value {
        Raw::Bool(true) => return Some(Inherit::All(node.span)),
        Raw::Bool(false) => return None,
        Raw::List(items) => {
            if let Some(names) = names(items) {
                return Some(Inherit::Named(names));
            }
        }
        _ => {}
    }
    let message = format!("`inherit` must be `true` or a list of names, this is {}", node.noun());
    fields.found().push(
        Diagnostic::new(Code::WrongType, message)
            .at(node.span, "")
            .help("write `inherit = true`, or name inputs: `inherit = [\"model\"]`"),
    );
    None
}

impl Ask {
    /// Reads the value of `ask`.
    pub fn read(used: Use, found: &mut Found) -> Option<Self> {
        let mut fields = Fields::new(used.with, used.name.span, "`ask`", found);
        let question = fields.text("question");
        let question = fields.need("question", question, "say what is asked: `question = \"Go on?\"`");
        let (choices, answer) = (fields.node("choices"), fields.text("type"));
        let (show, binds) = (fields.node("show"), fields.node("binds"));
        let (default, deadline) = (fields.node("default"), fields.span("deadline"));
        let at_deadline = fields.node("at_deadline");
        if let (Some(node), false) = (&at_deadline, fields.has("deadline")) {
            fields.found().push(
                Diagnostic::new(Code::MissingKey, "`at_deadline` needs a `deadline`")
                    .at(node.span, "taken when the deadline passes")
                    .help("say when that is: `deadline = \"2h\"`"),
            );
        }
        fields.finish();
        Some(Self { question: question?, choices, answer, show, binds, default, deadline, at_deadline })
    }
}

impl Compute {
    /// Reads the value of `compute`.
    pub fn read(used: Use, found: &mut Found) -> Option<Self> {
        let mut fields = Fields::new(used.with, used.name.span, "`compute`", found);
        let max = fields.expr("max");
        let max = fields.need("max", max, "bound it: `max = 1000`");
        let (seed, until) = (fields.expr("seed"), fields.expr("until"));
        let (init, next) = (fields.named_exprs("init"), fields.named_exprs("next"));
        let lets = fields.named_exprs("let");
        fields.finish();
        Some(Self { seed, init, lets, next, until, max: max? })
    }
}
