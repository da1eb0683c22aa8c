//! From tokens to a syntax tree, with minijinja's precedence.

use std::ops::Range;

use super::ast::{Arg, Kind, Node, Op};
use super::fault::Fault;
use super::token::{Spanned, Token, Tokens, Until, tokens};
use super::words::{self, constant, not_callable, reserved, syntax};

/// How deep brackets may nest, and how long a chain of operators or postfixes may grow.
const MAX_NESTING: usize = 24;
const MAX_CHAIN: usize = 64;
/// How long one expression may be, in tokens.
const MAX_TOKENS: usize = 8192;

/// Parses the whole of `text` as one expression.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let tokens = tokens(text, 0, Until::End)?;
    let mut parser = Parser::new(&tokens)?;
    let node = parser.expression()?;
    parser.end()?;
    Ok(node)
}

/// A reader of one tag's or expression's tokens.
pub(super) struct Parser<'a> {
    list: &'a [Spanned],
    at: usize,
    close: usize,
    nesting: usize,
}

pub(super) type Parsed<T = Node> = Result<T, Fault>;

impl<'a> Parser<'a> {
    pub(super) fn new(tokens: &'a Tokens) -> Parsed<Self> {
        if tokens.list.len() > MAX_TOKENS {
            let range = tokens.list[0].1.start..tokens.close;
            return Err(syntax(range, "this expression is too long"));
        }
        Ok(Self { list: &tokens.list, at: 0, close: tokens.close, nesting: 0 })
    }

    fn peek(&self) -> Option<&'a Token> {
        self.list.get(self.at).map(|(token, _)| token)
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.list.get(self.at).map_or(self.close..self.close, |(_, span)| span.clone())
    }

    pub(super) fn from(&self, start: usize) -> Range<usize> {
        let end = self.at.checked_sub(1).map_or(start, |last| self.list[last].1.end);
        start..end.max(start)
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    pub(super) fn skip_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.skip_sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    pub(super) fn end(&self) -> Parsed<()> {
        if self.at == self.list.len() { Ok(()) } else { Err(self.unexpected("the end of the expression")) }
    }

    pub(super) fn at_end(&self) -> bool {
        self.at == self.list.len()
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.peek() {
            None => return syntax(self.span(), format!("{wanted} is missing at the end")),
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
            Some(Token::Text(_)) => "text".to_owned(),
            Some(_) => "a number".to_owned(),
        };
        let fault = syntax(self.span(), format!("expected {wanted}, found {found}"));
        match self.peek() {
            Some(Token::Sign("=")) => fault.help("to compare write `==`"),
            Some(Token::Sign("|"))
                if self.list.get(self.at + 1).is_some_and(|next| next.0 == Token::Sign("|")) =>
            {
                fault.help("write `or`")
            }
            _ => fault,
        }
    }

    /// Any word, keywords too: what may follow a point, and the names of tags.
    pub(super) fn word(&mut self, wanted: &str) -> Parsed<(String, Range<usize>)> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let span = self.span();
                self.at += 1;
                Ok((word.clone(), span))
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    /// A name that an author may bind.
    pub(super) fn binding(&mut self) -> Parsed<(String, Range<usize>)> {
        let (name, span) = self.word("a name")?;
        if words::is_keyword(&name) || constant(&name).is_some() {
            return Err(syntax(span, format!("`{name}` is a word of the language and cannot be a name")));
        }
        reserved(&name, &span)?;
        Ok((name, span))
    }

    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(syntax(self.span(), "this expression is nested too deeply")
                .help("name a part of it with `let`, `set` or a function"));
        }
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    pub(super) fn expression(&mut self) -> Parsed {
        self.nested(|parser| {
            let start = parser.span().start;
            let then = parser.binary(1)?;
            if !parser.skip_word("if") {
                return Ok(then);
            }
            let condition = Box::new(parser.binary(1)?);
            if !parser.skip_word("else") {
                let fault = syntax(parser.from(start), "this `if` has no `else`");
                return Err(if parser.is_word("for") {
                    fault.help("the condition of a comprehension is at its end: `[… for … in … if …]`")
                } else {
                    fault.help("say what the value is otherwise: `… else none`")
                });
            }
            let otherwise = Box::new(parser.expression()?);
            let kind = Kind::Choice { then: Box::new(then), condition, otherwise };
            Ok(Node { kind, span: parser.from(start) })
        })
    }

    /// What may follow `in` of a `for`, where `if` begins a condition: no `if … else`.
    pub(super) fn without_choice(&mut self) -> Parsed {
        self.binary(1)
    }

    fn operator(&self) -> Option<Op> {
        Some(match self.peek()? {
            Token::Word(word) => match word.as_str() {
                "or" => Op::Or,
                "and" => Op::And,
                "in" => Op::In,
                "not"
                    if self
                        .list
                        .get(self.at + 1)
                        .is_some_and(|next| next.0 == Token::Word("in".to_owned())) =>
                {
                    Op::NotIn
                }
                _ => return None,
            },
            Token::Sign(sign) => match *sign {
                "==" => Op::Eq,
                "!=" => Op::Ne,
                "<" => Op::Lt,
                "<=" => Op::Le,
                ">" => Op::Gt,
                ">=" => Op::Ge,
                "+" => Op::Add,
                "-" => Op::Sub,
                "~" => Op::Concat,
                "*" => Op::Mul,
                "/" => Op::Div,
                "//" => Op::FloorDiv,
                "%" => Op::Rem,
                "**" => Op::Pow,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn binary(&mut self, level: u8) -> Parsed {
        if level == 3 && self.is_word("not") {
            return self.nested(|parser| {
                let start = parser.span().start;
                parser.at += 1;
                let inner = Box::new(parser.binary(3)?);
                Ok(Node { kind: Kind::Not(inner), span: parser.from(start) })
            });
        }
        if level > 8 {
            return self.unary();
        }
        let start = self.span().start;
        let mut left = self.binary(level + 1)?;
        let mut previous: Option<Node> = None;
        let mut length = 0;
        while let Some(op) = self.operator().filter(|op| op.level() == level) {
            self.grow(&mut length)?;
            self.at += if op == Op::NotIn { 2 } else { 1 };
            let right = self.binary(level + 1)?;
            let span = self.from(start);
            // `a < b < c` is `a < b and b < c`.
            let pair =
                previous.take().map_or_else(|| (left.clone(), None), |middle| (middle, Some(left.clone())));
            if level == 4 {
                previous = Some(right.clone());
                let compared = Node { span: pair.0.span.start..span.end, kind: binary(op, pair.0, right) };
                left = match pair.1 {
                    Some(before) => Node { kind: binary(Op::And, before, compared), span },
                    None => compared,
                };
            } else {
                left = Node { kind: binary(op, left, right), span };
            }
        }
        Ok(left)
    }

    fn grow(&self, length: &mut usize) -> Parsed<()> {
        *length += 1;
        if *length > MAX_CHAIN {
            return Err(syntax(self.span(), "this chain of operators is too long")
                .help("put the parts into a list and use `sum`, `join` or `in`"));
        }
        Ok(())
    }

    fn unary(&mut self) -> Parsed {
        let start = self.span().start;
        let mut node = self.negated()?;
        let mut length = 0;
        loop {
            self.no_mixture(&node)?;
            if self.skip_sign("|") {
                let (name, name_span) = self.word("the name of a filter")?;
                let args = if self.is_sign("(") { self.args()? } else { Vec::new() };
                let kind = Kind::Filter { name, name_span, base: Box::new(node), args };
                node = Node { kind, span: self.from(start) };
            } else if self.skip_word("is") {
                node = self.test(node, start)?;
            } else {
                return Ok(node);
            }
            self.grow(&mut length)?;
        }
    }

    fn test(&mut self, base: Node, start: usize) -> Parsed {
        let negated = self.skip_word("not");
        let (name, name_span) = self.word("the name of a test")?;
        let argument_follows = match self.peek() {
            Some(Token::Word(word)) => {
                !matches!(word.as_str(), "and" | "or" | "else" | "is" | "if" | "in" | "not" | "for")
            }
            Some(Token::Sign(sign)) => matches!(*sign, "[" | "{"),
            Some(_) => true,
            None => false,
        };
        let args = if self.is_sign("(") {
            self.args()?
        } else if argument_follows {
            vec![Arg { name: None, value: self.negated()? }]
        } else {
            Vec::new()
        };
        let span = self.from(start);
        let test =
            Node { kind: Kind::Test { name, name_span, base: Box::new(base), args }, span: span.clone() };
        Ok(if negated { Node { kind: Kind::Not(Box::new(test)), span } } else { test })
    }

    pub(super) fn negated(&mut self) -> Parsed {
        let start = self.span().start;
        if !self.skip_sign("-") {
            let primary = self.primary()?;
            let node = self.postfix(primary, start)?;
            return if self.skip_sign("??") { self.coalesced(node) } else { Ok(node) };
        }
        let inner = Box::new(self.nested(Self::negated)?);
        Ok(Node { kind: Kind::Neg(inner), span: self.from(start) })
    }

    fn postfix(&mut self, mut node: Node, start: usize) -> Parsed {
        let mut length = 0;
        loop {
            if self.skip_sign(".") {
                node = self.attribute(node, start)?;
            } else if self.is_sign("[") {
                node = self.subscript(node, start)?;
            } else if self.is_sign("(") {
                return Err(not_callable(&node, self.span()));
            } else {
                return Ok(node);
            }
            self.grow(&mut length)?;
        }
    }

    fn attribute(&mut self, base: Node, start: usize) -> Parsed {
        let key_span = self.span();
        let base = Box::new(base);
        if let Some(Token::Int(index)) = self.peek() {
            self.at += 1;
            let index = Box::new(Node { kind: Kind::Int(*index), span: key_span });
            return Ok(Node { kind: Kind::Index { base, index }, span: self.from(start) });
        }
        let (key, key_span) = self.word("a key")?;
        Ok(Node { kind: Kind::Key { base, key, key_span }, span: self.from(start) })
    }

    fn subscript(&mut self, base: Node, start: usize) -> Parsed {
        self.expect("[")?;
        let base = Box::new(base);
        let mut bounds = [None, None, None];
        let mut colons = 0;
        while !self.is_sign("]") {
            if self.is_sign(":") && colons < 2 {
                self.at += 1;
                colons += 1;
            } else if bounds[colons].is_none() {
                bounds[colons] = Some(Box::new(self.expression()?));
            } else {
                return Err(self.unexpected("`]`"));
            }
        }
        let empty = self.span();
        self.expect("]")?;
        let span = self.from(start);
        if colons > 0 {
            return Ok(Node { kind: Kind::Slice { base, bounds }, span });
        }
        let [Some(index), ..] = bounds else { return Err(syntax(empty, "a key or an index is missing")) };
        let kind = match index.kind {
            Kind::Text(key) => Kind::Key { base, key, key_span: index.span },
            _ => Kind::Index { base, index },
        };
        Ok(Node { kind, span })
    }

    fn args(&mut self) -> Parsed<Vec<Arg>> {
        self.expect("(")?;
        let mut args: Vec<Arg> = Vec::new();
        while !self.skip_sign(")") {
            if !args.is_empty() {
                self.expect(",")?;
                if self.skip_sign(")") {
                    break;
                }
            }
            let named = matches!(self.list.get(self.at + 1), Some((Token::Sign("="), _)));
            let name = if named { Some(self.word("the name of an argument")?) } else { None };
            if named {
                self.expect("=")?;
            } else if args.last().is_some_and(|last| last.name.is_some()) {
                return Err(syntax(self.span(), "an argument without a name cannot follow one with a name"));
            }
            args.push(Arg { name, value: self.expression()? });
        }
        Ok(args)
    }

    fn primary(&mut self) -> Parsed {
        let span = self.span();
        let Some(token) = self.peek() else { return Err(self.unexpected("an expression")) };
        let kind = match token {
            Token::Int(whole) => Kind::Int(*whole),
            Token::Big(whole) => Kind::Big(*whole),
            Token::Float(number) => Kind::Float(*number),
            Token::Text(_) => return Ok(self.text()),
            Token::Word(word) => return self.name(word, span),
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.expression()?;
                if self.is_sign(",") {
                    return Err(self.unexpected("`)`").help("write a list: `[a, b]`"));
                }
                self.expect(")")?;
                return Ok(Node { kind: inner.kind, span: self.from(span.start) });
            }
            Token::Sign("[") => return self.list(),
            Token::Sign("{") => return self.table(),
            Token::Sign(_) => return Err(self.unexpected("an expression")),
        };
        self.at += 1;
        Ok(Node { kind, span })
    }

    fn text(&mut self) -> Node {
        let start = self.span().start;
        let mut text = String::new();
        while let Some(Token::Text(part)) = self.peek() {
            text.push_str(part);
            self.at += 1;
        }
        Node { kind: Kind::Text(text), span: self.from(start) }
    }

    fn name(&mut self, word: &str, span: Range<usize>) -> Parsed {
        if words::is_keyword(word) {
            return Err(self.unexpected("an expression"));
        }
        self.at += 1;
        if let Some(kind) = constant(word) {
            return Ok(Node { kind, span });
        }
        reserved(word, &span)?;
        let kind = if self.is_sign("(") {
            Kind::Call { name: word.to_owned(), name_span: span.clone(), args: self.args()? }
        } else {
            Kind::Name(word.to_owned())
        };
        Ok(Node { kind, span: self.from(span.start) })
    }

    /// The filters of a `filter` tag, applied to `base`: `upper | indent(2)`.
    pub(super) fn filters(&mut self, base: Node) -> Parsed {
        let mut node = base;
        loop {
            let (name, name_span) = self.word("the name of a filter")?;
            let args = if self.is_sign("(") { self.args()? } else { Vec::new() };
            let span = name_span.start..self.from(name_span.start).end;
            node = Node { kind: Kind::Filter { name, name_span, base: Box::new(node), args }, span };
            if !self.skip_sign("|") {
                return Ok(node);
            }
        }
    }
}

fn binary(op: Op, left: Node, right: Node) -> Kind {
    Kind::Binary { op, left: Box::new(left), right: Box::new(right) }
}
