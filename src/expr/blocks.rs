//! From pieces to the tree of a template, with names that it binds kept apart from those it reads.
//!
//! References must be sound: a name counts as bound only where it certainly is. What is set in one branch of an `if`
//! is bound after it only if every branch sets it.

use std::ops::Range;
use std::sync::Arc;

use super::ast::{Kind, Node};
use super::compiled::Compiled;
use super::comprehension;
use super::fault::{Fault, FaultKind};
use super::functions::Functions;
use super::parse::Parser;
use super::refs::{Ref, Step, guard, types_asked};
use super::scan::{Piece, Tag, scan};
use super::token::{Token, Tokens};
use crate::diag::nearest;

const MAX_INCLUDES: usize = 256;
const MAX_NESTING: usize = 64;
/// How many names may be bound at one place, and how many faults are told.
const MAX_NAMES: usize = 256;
const MAX_FAULTS: usize = 100;
/// The name under which a `filter` tag's text is handed to its filters.
pub(super) const BLOCK: &str = "__block";

const TAGS: [&str; 11] =
    ["if", "elif", "else", "endif", "for", "endfor", "set", "with", "filter", "include", "raw"];

/// One part of a template.
#[derive(Debug)]
pub(super) enum Part {
    Text(Arc<str>),
    Output(Compiled),
    If {
        branches: Vec<(Compiled, Vec<Part>)>,
        otherwise: Vec<Part>,
    },
    For(Box<Loop>),
    Set {
        names: Vec<String>,
        value: Compiled,
    },
    /// `{% set name %}…{% endset %}` and, with a filter and no name, `{% filter … %}`.
    Capture {
        name: Option<String>,
        filter: Option<Compiled>,
        body: Vec<Part>,
    },
    With {
        bindings: Vec<(String, Compiled)>,
        body: Vec<Part>,
    },
    Include {
        name: Arc<str>,
        body: Vec<Part>,
    },
    Break,
    Continue,
}

/// A `for` tag.
#[derive(Debug)]
pub(super) struct Loop {
    pub names: Vec<String>,
    pub over: Compiled,
    pub filter: Option<Compiled>,
    pub body: Vec<Part>,
    pub otherwise: Vec<Part>,
    /// Whether the body reads `loop`.
    pub counted: bool,
}

/// Gives the text of an include.
pub(super) type Includes<'a> = dyn Fn(&str) -> Option<Arc<str>> + 'a;

/// A template being read.
pub(super) struct Builder<'a> {
    pub functions: &'a Functions,
    pub includes: &'a Includes<'a>,
    pub refs: Vec<Ref>,
    /// The places of names that comprehensions bind.
    pub binds: Vec<Ref>,
    pub faults: Vec<Fault>,
    /// Names that are certainly bound here, innermost last.
    bound: Vec<String>,
    /// Includes that are being read, outermost first.
    open: Vec<Arc<str>>,
    included: usize,
    loops: usize,
    nesting: usize,
    reads_loop: bool,
}

/// The pieces of one file, and how far they are read.
struct Reader {
    source: Arc<str>,
    pieces: std::vec::IntoIter<Piece>,
}

type Read<T> = Result<T, Fault>;

impl<'a> Builder<'a> {
    pub(super) fn new(functions: &'a Functions, includes: &'a Includes<'a>) -> Self {
        Self {
            functions,
            includes,
            refs: Vec::new(),
            binds: Vec::new(),
            faults: Vec::new(),
            bound: Vec::new(),
            open: Vec::new(),
            included: 0,
            loops: 0,
            nesting: 0,
            reads_loop: false,
        }
    }

    /// Reads a whole file.
    pub(super) fn file(&mut self, source: &Arc<str>) -> Vec<Part> {
        let read = scan(source).and_then(|pieces| {
            let mut reader = Reader { source: Arc::clone(source), pieces: pieces.into_iter() };
            let (parts, end) = self.parts(&mut reader, &[])?;
            match end {
                Some(tag) => Err(self.stray(&tag)),
                None => Ok(parts),
            }
        });
        read.unwrap_or_else(|fault| {
            self.fault(fault);
            Vec::new()
        })
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            let file = fault.file.clone().or_else(|| self.open.last().cloned());
            self.faults.push(Fault { file, ..fault });
        }
    }

    fn stray(&self, tag: &Tag) -> Fault {
        let fault =
            Fault::new(FaultKind::Syntax, tag.span.clone(), format!("`{}` without its beginning", tag.name));
        if self.nesting == 0 { fault } else { fault.help("an inner tag is not closed") }
    }

    /// Parts up to a tag named in `ends`, which is taken.
    fn parts(&mut self, reader: &mut Reader, ends: &[&str]) -> Read<(Vec<Part>, Option<Tag>)> {
        let mut parts = Vec::new();
        while let Some(piece) = reader.pieces.next() {
            match piece {
                Piece::Text(range) => parts.push(Part::Text(Arc::from(&reader.source[range]))),
                Piece::Output(tokens, span) => {
                    if tokens.list.is_empty() {
                        self.fault(Fault::new(
                            FaultKind::Syntax,
                            span,
                            "there is no expression between the braces",
                        ));
                        continue;
                    }
                    let output = self.whole(&reader.source, &tokens, Parser::expression);
                    parts.extend(output.map(Part::Output));
                }
                Piece::Tag(tag) if ends.contains(&tag.name.as_str()) => return Ok((parts, Some(tag))),
                Piece::Tag(tag) => {
                    self.nesting += 1;
                    if self.nesting > MAX_NESTING {
                        return Err(Fault::new(FaultKind::Syntax, tag.span, "tags are nested too deeply"));
                    }
                    let span = tag.span.clone();
                    let part = self.tag(reader, tag)?;
                    self.nesting -= 1;
                    if self.bound.len() > MAX_NAMES {
                        let message = format!("a template cannot set more than {MAX_NAMES} names");
                        return Err(Fault::new(FaultKind::Syntax, span, message).help("set one object"));
                    }
                    parts.extend(part);
                }
            }
        }
        Ok((parts, None))
    }

    /// The body of `tag` up to one of `ends`.
    fn body(&mut self, reader: &mut Reader, tag: &Tag, ends: &[&str]) -> Read<(Vec<Part>, Tag)> {
        if let (parts, Some(end)) = self.parts(reader, ends)? {
            Ok((parts, end))
        } else {
            let message = format!("this `{}` has no `{{% end{} %}}`", tag.name, tag.name);
            Err(Fault::new(FaultKind::Syntax, tag.span.clone(), message))
        }
    }

    fn tag(&mut self, reader: &mut Reader, tag: Tag) -> Read<Option<Part>> {
        match tag.name.as_str() {
            "if" => self.condition(reader, tag),
            "for" => self.each(reader, &tag),
            "set" => self.set(reader, &tag),
            "with" => self.with(reader, &tag),
            "filter" => self.filter(reader, &tag),
            "include" => Ok(self.include(&tag)),
            "break" | "continue" if self.loops > 0 => {
                Ok(Some(if tag.name == "break" { Part::Break } else { Part::Continue }))
            }
            "break" | "continue" => {
                Err(Fault::new(FaultKind::Syntax, tag.span, format!("`{}` outside of a `for`", tag.name)))
            }
            "else" | "elif" | "endif" | "endfor" | "endset" | "endwith" | "endfilter" | "endraw" => {
                Err(self.stray(&tag))
            }
            _ => Err(unknown(&tag)),
        }
    }

    /// An expression made of all of `tokens`.
    fn whole<'t>(
        &mut self,
        source: &Arc<str>,
        tokens: &'t Tokens,
        read: impl FnOnce(&mut Parser<'t>) -> Read<Node>,
    ) -> Option<Compiled> {
        let node = Parser::new(tokens).and_then(|mut parser| {
            let node = read(&mut parser)?;
            parser.end()?;
            Ok(node)
        });
        node.map_err(|fault| self.fault(fault)).ok().and_then(|node| self.compile(source, node))
    }

    fn compile(&mut self, source: &Arc<str>, node: Node) -> Option<Compiled> {
        match Compiled::new(source, node, self.functions) {
            Ok(compiled) => {
                for found in compiled.refs() {
                    let Some(Step::Key(root)) = found.path.first() else { continue };
                    self.reads_loop |= root == "loop";
                    if root != BLOCK && !self.bound.contains(root) {
                        self.refs.push(Ref { file: self.open.last().cloned(), ..found.clone() });
                    }
                }
                self.note_binds(&compiled);
                Some(compiled)
            }
            Err(faults) => {
                faults.into_iter().for_each(|fault| self.fault(fault));
                None
            }
        }
    }

    fn note_binds(&mut self, compiled: &Compiled) {
        for made in compiled.binds() {
            if let Some(Step::Key(name)) = made.path.first().filter(|step| self.is_bound(step)) {
                self.fault(comprehension::hidden(name, &made.range));
            }
            self.binds.push(Ref { file: self.open.last().cloned(), ..made.clone() });
        }
    }

    fn is_bound(&self, step: &Step) -> bool {
        matches!(step, Step::Key(name) if self.bound.contains(name))
    }

    fn condition(&mut self, reader: &mut Reader, tag: Tag) -> Read<Option<Part>> {
        let before = self.bound.len();
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        let mut sets: Vec<Vec<String>> = Vec::new();
        let mut complete = false;
        let opening = tag;
        let mut asked = self.whole(&reader.source, &opening.tokens, Parser::expression);
        let mut types = Vec::new();
        loop {
            types.extend(asked.iter().flat_map(|asked| types_asked(asked.node())));
            let start = self.refs.len();
            let (body, end) = self.body(reader, &opening, &["elif", "else", "endif"])?;
            guard(&mut self.refs[start..], &types, |_| true);
            sets.push(self.bound.split_off(before));
            if complete {
                otherwise = body;
            } else {
                branches.extend(asked.take().map(|asked| (asked, body)));
            }
            match end.name.as_str() {
                "elif" if !complete => asked = self.whole(&reader.source, &end.tokens, Parser::expression),
                "else" if !complete => complete = true,
                "endif" => break,
                _ => return Err(self.stray(&end)),
            }
        }
        if complete && let Some((first, others)) = sets.split_first() {
            let certain = first.iter().filter(|name| others.iter().all(|set| set.contains(name)));
            self.bound.extend(certain.cloned());
        }
        Ok(Some(Part::If { branches, otherwise }))
    }

    fn each(&mut self, reader: &mut Reader, tag: &Tag) -> Read<Option<Part>> {
        let mut parser = Parser::new(&tag.tokens)?;
        let names = names(&mut parser)?;
        if !parser.skip_word("in") {
            return Err(parser.unexpected("`in`"));
        }
        let over = parser.without_choice()?;
        let filter = if parser.skip_word("if") { Some(parser.without_choice()?) } else { None };
        parser.end()?;
        let over = self.compile(&reader.source, over);
        let before = self.bound.len();
        self.bound.extend(names.iter().cloned());
        let filtered = filter.is_some();
        let filter = filter.and_then(|node| self.compile(&reader.source, node));
        self.bound.push("loop".to_owned());
        let outer = std::mem::take(&mut self.reads_loop);
        self.loops += 1;
        let (body, end) = self.body(reader, tag, &["else", "endfor"])?;
        self.loops -= 1;
        self.bound.truncate(before);
        let counted = std::mem::replace(&mut self.reads_loop, outer);
        let otherwise = if end.name == "else" {
            let (body, end) = self.body(reader, tag, &["endfor"])?;
            debug_assert_eq!(end.name, "endfor");
            self.bound.truncate(before);
            body
        } else {
            Vec::new()
        };
        let Some(over) = over.filter(|_| filter.is_some() == filtered) else { return Ok(None) };
        Ok(Some(Part::For(Box::new(Loop { names, over, filter, body, otherwise, counted }))))
    }

    fn set(&mut self, reader: &mut Reader, tag: &Tag) -> Read<Option<Part>> {
        let mut parser = Parser::new(&tag.tokens)?;
        let names = names(&mut parser)?;
        if parser.skip_sign("=") {
            let value = parser.expression()?;
            parser.end()?;
            let value = self.compile(&reader.source, value);
            self.bound.extend(names.iter().cloned());
            return Ok(value.map(|value| Part::Set { names, value }));
        }
        let filter = if parser.skip_sign("|") { Some(parser.filters(block(tag))?) } else { None };
        parser.end()?;
        let [name] = &names[..] else { return Err(parser.unexpected("`=`")) };
        let filter = filter.and_then(|node| self.compile(&reader.source, node));
        let (body, _) = self.body(reader, tag, &["endset"])?;
        self.bound.push(name.clone());
        Ok(Some(Part::Capture { name: Some(name.clone()), filter, body }))
    }

    fn with(&mut self, reader: &mut Reader, tag: &Tag) -> Read<Option<Part>> {
        let mut parser = Parser::new(&tag.tokens)?;
        let before = self.bound.len();
        let mut bindings = Vec::new();
        while !parser.at_end() {
            if !bindings.is_empty() {
                parser.expect(",")?;
            }
            let (name, _) = parser.binding()?;
            parser.expect("=")?;
            let value = parser.expression()?;
            bindings.extend(self.compile(&reader.source, value).map(|value| (name.clone(), value)));
            self.bound.push(name);
        }
        let (body, _) = self.body(reader, tag, &["endwith"])?;
        self.bound.truncate(before);
        Ok(Some(Part::With { bindings, body }))
    }

    fn filter(&mut self, reader: &mut Reader, tag: &Tag) -> Read<Option<Part>> {
        let filter = self.whole(&reader.source, &tag.tokens, |parser| parser.filters(block(tag)));
        let (body, _) = self.body(reader, tag, &["endfilter"])?;
        Ok(filter.map(|filter| Part::Capture { name: None, filter: Some(filter), body }))
    }

    fn include(&mut self, tag: &Tag) -> Option<Part> {
        let wrong = |message: String| Fault::new(FaultKind::Include, tag.span.clone(), message);
        let [(Token::Text(name), at)] = &tag.tokens.list[..] else {
            let help = "write `{% include \"file.md\" %}`: what is read must be known before the run";
            self.fault(wrong("an include names one file, as text".to_owned()).help(help));
            return None;
        };
        let name: Arc<str> = Arc::from(name.as_str());
        if self.open.contains(&name) {
            self.fault(wrong(format!("`{name}` includes itself")));
            return None;
        }
        self.included += 1;
        if self.included > MAX_INCLUDES || self.open.len() >= MAX_NESTING / 2 {
            self.fault(wrong(format!(
                "there are more than {MAX_INCLUDES} includes, or they are nested too deeply"
            )));
            return None;
        }
        let Some(source) = (self.includes)(&name) else {
            self.fault(Fault::new(
                FaultKind::Include,
                at.clone(),
                format!("there is no file `{name}` to include"),
            ));
            return None;
        };
        self.open.push(Arc::clone(&name));
        let (loops, nesting) = (std::mem::take(&mut self.loops), self.nesting);
        let body = self.file(&source);
        (self.loops, self.nesting) = (loops, nesting);
        self.open.pop();
        Some(Part::Include { name, body })
    }
}

fn names(parser: &mut Parser<'_>) -> Read<Vec<String>> {
    let mut names = vec![parser.binding()?.0];
    while parser.skip_sign(",") {
        names.push(parser.binding()?.0);
    }
    Ok(names)
}

fn block(tag: &Tag) -> Node {
    let at: Range<usize> = tag.name_span.clone();
    Node { kind: Kind::Name(BLOCK.to_owned()), span: at }
}

fn unknown(tag: &Tag) -> Fault {
    let message = format!("templates have no tag `{}`", tag.name);
    let fault = Fault::new(FaultKind::UnknownTag, tag.name_span.clone(), message);
    match tag.name.as_str() {
        "macro" | "call" => {
            fault.help("write a function, or an `{% include \"file.md\" %}` inside `{% with … %}`")
        }
        "extends" | "block" | "endblock" => {
            fault.help("blocks are for files below `prompts/`; here, write `{% include \"file.md\" %}`")
        }
        "import" | "from" => fault.help("write `{% include \"file.md\" %}`"),
        "do" => fault.help("templates change nothing: write `{% set name = … %}`"),
        "elseif" => fault.help("write `elif`"),
        name => match nearest(name, TAGS) {
            Some(near) => fault.help(format!("did you mean `{near}`?")),
            None => fault,
        },
    }
}
