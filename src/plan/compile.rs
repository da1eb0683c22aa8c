use indexmap::IndexMap;

use super::resolve::Resolver;
use super::scope::{InScope, Sight, Site};
use super::sources::{USERS, library_path};
use super::types::{InputKind, Sees};
use crate::diag::{Code, Diagnostic, SourceId};
use crate::expr::{Expr, Fault, FaultKind, Ref, Scope, Shape, Step, Template, Tree};
use crate::model::{Name, Node, Raw, Text};
use crate::value::Value;

/// What an expression is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Anything,
    Condition,
    List,
    /// A whole number from the first to the second.
    Count(u32, u32),
    /// A number or `none`; also a span of time if `span`.
    Cap {
        span: bool,
    },
}

impl Resolver<'_, '_> {
    /// Compiles an expression and checks every name in it.
    pub(super) fn expr(
        &mut self,
        text: &Text,
        wanted: Wanted,
        site: &Site<'_>,
        sight: &mut Sight,
    ) -> Option<Expr> {
        let trimmed = text.text.trim();
        if let Some(inner) = trimmed.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
            self.loader.found.push(
                Diagnostic::new(Code::BracesInExpression, "an expression stands without braces")
                    .at(text.span, "")
                    .help(format!("write \"{}\"", inner.trim())),
            );
            return None;
        }
        self.note_calls(&text.text);
        match Expr::parse(&text.text, &self.functions) {
            Ok(expr) => {
                let before = self.names_secret;
                self.names_secret |= wanted == Wanted::Condition;
                for r in expr.refs() {
                    self.refer(text, r, site, sight);
                }
                self.names_secret = before;
                self.check_binds(text, expr.binds(), site);
                let names = InScope { resolver: self, site };
                let (shape, faults) = if wanted == Wanted::Condition {
                    expr.infer_condition(&names)
                } else {
                    expr.infer(&names)
                };
                for fault in &faults {
                    self.fault(text, fault, Code::ExpressionSyntax);
                }
                self.check_wanted(text, &expr, wanted, &shape);
                self.made.insert(text.span, shape);
                Some(expr)
            }
            Err(faults) => {
                for fault in &faults {
                    self.fault(text, fault, Code::ExpressionSyntax);
                }
                None
            }
        }
    }

    /// Compiles what may be absent: `None` means that it is there and wrong.
    #[expect(clippy::option_option, reason = "absent, and there but wrong, are two things")]
    pub(super) fn maybe(
        &mut self,
        text: Option<&Text>,
        wanted: Wanted,
        site: &Site<'_>,
        sight: &mut Sight,
    ) -> Option<Option<Expr>> {
        match text {
            None => Some(None),
            Some(text) => self.expr(text, wanted, site, sight).map(Some),
        }
    }

    pub(super) fn named(
        &mut self,
        entries: &[(Name, Text)],
        site: &Site<'_>,
        sight: &mut Sight,
    ) -> Option<Vec<(String, Expr)>> {
        let read: Vec<_> = entries
            .iter()
            .map(|(name, text)| Some((name.text.clone(), self.expr(text, Wanted::Anything, site, sight)?)))
            .collect();
        read.into_iter().collect()
    }

    /// Compiles the input of a verb: every string in it is a template.
    pub(super) fn tree(&mut self, node: &Node, site: &Site<'_>, sight: &mut Sight) -> Option<Tree> {
        Some(match &node.value {
            Raw::Text(_) => {
                let text = node.text()?;
                self.text_or_file(text, site, sight)?
            }
            Raw::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.tree(item, site, sight)).collect();
                Tree::List(items.into_iter().collect::<Option<_>>()?)
            }
            Raw::Table(table) => {
                let entries: Vec<_> = table
                    .iter()
                    .map(|(key, entry)| {
                        let before = std::mem::replace(&mut self.names_secret, key == "secret");
                        let inner = self.tree(&entry.node, site, sight);
                        self.names_secret = before;
                        Some((key.clone(), inner?))
                    })
                    .collect();
                Tree::Table(entries.into_iter().collect::<Option<IndexMap<_, _>>>()?)
            }
            _ => Tree::Literal(node.to_value()),
        })
    }

    /// A string is a template; one that names a file of texts stands for the file's text.
    fn text_or_file(&mut self, text: Text, site: &Site<'_>, sight: &mut Sight) -> Option<Tree> {
        let named = library_path(&text.text).starts_with("prompts/") && !text.text.starts_with(USERS);
        let names_file = named && !text.text.contains([' ', '\n', '{']);
        if names_varying_file(&text.text) {
            self.loader.found.push(
                Diagnostic::new(Code::VaryingFile, "which file is read must be known before the run")
                    .at(text.span, "a path with `{{` in it")
                    .help(
                        "choose among includes: `{% if inputs.short %}{% include \"prompts/short.md\" %}{% endif %}`",
                    ),
            );
            return None;
        }
        let text = if names_file { self.expanded_text(&text)? } else { text };
        let template = self.template(&text, site, sight)?;
        // What has tags or comments says something else than it is.
        Some(match template.literal() {
            Some(literal) if literal == text.text => Tree::Literal(Value::from(literal)),
            _ => Tree::Template(template),
        })
    }

    pub(super) fn file(&mut self, path: &Text) -> Option<Text> {
        let read = self.loader.texts.read(&path.text);
        self.found_file(path, read)
    }

    /// The text of the file at `path`, with its blocks in place.
    fn expanded_text(&mut self, path: &Text) -> Option<Text> {
        let read = self.loader.texts.expanded_text(&path.text);
        self.found_file(path, read)
    }

    fn found_file(&mut self, path: &Text, read: Result<Option<SourceId>, Diagnostic>) -> Option<Text> {
        let complaint = match read {
            Ok(Some(id)) => return Some(self.loader.texts.whole(id)),
            Ok(None) => {
                let message = format!("there is no file `{}`", path.text);
                self.loader.texts.missing(message, &path.text, Some(path.span))
            }
            Err(complaint) => complaint.at(path.span, ""),
        };
        self.loader.found.push(complaint);
        None
    }

    pub(super) fn template(&mut self, text: &Text, site: &Site<'_>, sight: &mut Sight) -> Option<Template> {
        self.note_calls(&text.text);
        let texts = &self.loader.texts;
        match Template::parse(&text.text, &self.functions, &|path| texts.include(path)) {
            Ok(template) => {
                for r in template.refs() {
                    self.refer(text, r, site, sight);
                }
                self.check_binds(text, template.binds(), site);
                let (shape, faults) = template.infer(&InScope { resolver: self, site });
                for fault in &faults {
                    self.fault(text, fault, Code::TemplateSyntax);
                }
                self.made.insert(text.span, shape);
                Some(template)
            }
            Err(faults) => {
                for fault in &faults {
                    self.fault(text, fault, Code::TemplateSyntax);
                }
                None
            }
        }
    }

    pub(super) fn note_calls(&mut self, text: &str) {
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
            self.uncalled.swap_remove(word);
        }
    }

    pub(super) fn fault(&mut self, text: &Text, fault: &Fault, syntax: Code) {
        let code = match fault.kind {
            FaultKind::Syntax | FaultKind::UnknownTag => syntax,
            FaultKind::UnknownFilter | FaultKind::UnknownTest | FaultKind::UnknownFunction => {
                Code::UnknownFilter
            }
            FaultKind::UnknownName => Code::UnknownName,
            FaultKind::Hidden => Code::HiddenItem,
            FaultKind::Arity | FaultKind::Cycle => Code::FunctionMisuse,
            FaultKind::Include => Code::TextMissing,
            FaultKind::Mixed => Code::MixedTypes,
            FaultKind::Field => Code::UnknownField,
            FaultKind::Zero => Code::NumberCondition,
            FaultKind::OtherWord | FaultKind::Constant => Code::ConstantCondition,
        };
        let span = self.loader.texts.fault(text, fault);
        let mut complaint = Diagnostic::new(code, fault.message.clone()).at(span, "");
        complaint.help = fault.help.clone().or_else(|| hint(code));
        self.loader.found.push(complaint);
    }

    /// Complains where an expression that reads nothing, or just one input, cannot be what is wanted.
    fn check_wanted(&mut self, text: &Text, expr: &Expr, wanted: Wanted, shape: &Shape) {
        let refs = expr.refs();
        let input = self.only_input(text, refs);
        let constant = if refs.is_empty() { self.loader.constant(expr, &Scope::new()) } else { None };
        let complaint =
            |code, message: String, help: &str| Diagnostic::new(code, message).at(text.span, "").help(help);
        if let Wanted::Cap { span } = wanted {
            let wrong = cap_wanted(span, shape);
            let found = wrong.map(|(message, help)| complaint(Code::WrongType, message, help));
            return self.loader.found.extend(found);
        }
        let made = match (wanted, constant, input) {
            (Wanted::Condition, Some(data), _) => Some(complaint(
                Code::ConstantCondition,
                format!("this condition is always {}", data.is_true()),
                if data.as_bool().is_some() {
                    "remove it, or read an input: `inputs.NAME`"
                } else {
                    "compare it: `inputs.mode == 'fast'`; text inside an expression stands in single quotes"
                },
            )),
            (Wanted::List, None, _) if !shape.may(|shape| matches!(shape, Shape::List(_))) => {
                Some(complaint(
                    Code::WrongType,
                    format!("a list is needed here, this is {}", shape.noun()),
                    "write a list: `[1, 2]`, `range(10)`, or read one",
                ))
            }
            (Wanted::Count(..), None, _) if !shape.may(|shape| *shape == Shape::Number) => Some(complaint(
                Code::WrongType,
                format!("a whole number is needed here, this is {}", shape.noun()),
                "convert it: `… | int`",
            )),
            (Wanted::List, Some(data), _) if !data.is_list() => Some(complaint(
                Code::WrongType,
                format!("a list is needed here, this is {}", data.noun()),
                "write a list: `[1, 2]`, `range(10)`, or read one",
            )),
            (Wanted::Count(least, most), Some(data), _)
                if data.as_i64().is_none_or(|n| n < i64::from(least) || n > i64::from(most)) =>
            {
                let range = if most == u32::MAX {
                    format!("of at least {least}")
                } else {
                    format!("from {least} to {most}")
                };
                Some(complaint(
                    Code::BadRange,
                    format!("a whole number {range} is needed here, this is `{}`", text.text),
                    &format!("give a whole number {range}"),
                ))
            }
            (Wanted::Count(_, most), None, Some((name, InputKind::Int))) => {
                let default = self.inputs.get(&name).and_then(|input| input.default.as_i64());
                default.filter(|n| *n > i64::from(most)).map(|n| {
                    complaint(
                        Code::BadRange,
                        format!("this is at most {most}, and the default of `inputs.{name}` is {n}"),
                        &format!("give the input a default, and a `max`, of at most {most}"),
                    )
                })
            }
            _ => None,
        };
        self.loader.found.extend(made);
    }

    /// The input that is all the expression reads and says.
    pub(super) fn only_input(&self, text: &Text, refs: &[Ref]) -> Option<(String, InputKind)> {
        let [Ref { path, .. }] = refs else { return None };
        let [Step::Key(root), Step::Key(name)] = path.as_slice() else { return None };
        let whole = root == "inputs" && text.text.trim() == format!("inputs.{name}");
        whole.then(|| self.inputs.get(name).map(|input| (name.clone(), input.kind.clone()))).flatten()
    }
}

/// Whether `text` is the path of a file of texts with templates in it, and nothing else.
fn names_varying_file(text: &str) -> bool {
    let mut rest = text;
    let mut plain = String::new();
    while let Some(start) = rest.find("{{") {
        plain.push_str(&rest[..start]);
        rest = rest[start..].split_once("}}").map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain.len() < text.len() && text.starts_with("prompts/") && !plain.contains([' ', '\n', '{'])
}

fn hint(code: Code) -> Option<String> {
    match code {
        Code::ExpressionSyntax => {
            Some("text inside an expression stands in single quotes: `'text'`".to_owned())
        }
        Code::TemplateSyntax => Some("every `{{` needs its `}}`, every `{%` its `%}`".to_owned()),
        Code::UnknownFilter => Some(
            "`atoll explain filters` lists filters and tests; functions are declared under `[functions]`"
                .to_owned(),
        ),
        _ => Some(format!("`atoll explain {code}` shows an example and the fix")),
    }
}

impl Resolver<'_, '_> {
    /// What is known of the value that the expression or template `text` makes.
    pub(super) fn made(&self, text: &Text) -> Shape {
        self.made.get(&text.span).cloned().unwrap_or_default()
    }

    /// What is known of a value with templates in it.
    pub(super) fn made_of(&self, node: &Node) -> Shape {
        match &node.value {
            Raw::Text(_) => node
                .text()
                .map_or(Shape::Text, |text| self.made.get(&text.span).cloned().unwrap_or(Shape::Text)),
            Raw::List(items) => Shape::list(Shape::one_of(items.iter().map(|item| self.made_of(item)))),
            Raw::Table(table) => {
                Shape::table(table.iter().map(|(name, entry)| (name, self.made_of(&entry.node))))
            }
            _ => super::shape::of_value(&node.to_value()),
        }
    }
}

/// The steps seen, as the plan keeps them.
pub(super) fn sees(sight: &Sight) -> Sees {
    sight.iter().copied().collect()
}

/// What is wrong with a cap that is `shape`, if anything is; `span` says that it may be a span of time.
fn cap_wanted(span: bool, shape: &Shape) -> Option<(String, &'static str)> {
    let fits = |shape: &Shape| match shape {
        Shape::Number | Shape::None => true,
        Shape::Text => span,
        _ => false,
    };
    let help = if span { "write seconds, or a span of time: `'10m'`" } else { "convert it: `… | float`" };
    (!shape.may(fits)).then(|| (format!("a number or `none` is needed here, this is {}", shape.noun()), help))
}
