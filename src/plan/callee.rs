use super::compile::Wanted;
use super::resolve::Resolver;
use super::scope::{Sight, Site};
use super::takes::convert;
use super::types::{Call, Input, InputKind, Plan};
use crate::diag::{Code, Diagnostic, Span};
use crate::expr::{Expr, Scope};
use crate::model::{self, Inherit, Name, Text, Use};

impl Resolver<'_, '_> {
    pub(super) fn call(&mut self, used: Use, sight: &mut Sight) -> Option<Call> {
        let read = model::Call::read(used, &mut self.loader.found)?;
        let plan = self.loader.callee(&read.pipeline.text, read.pipeline.span);
        let takes_secret = |name: &str| {
            let input = plan.as_ref().and_then(|plan| plan.inputs.get(name));
            input.is_some_and(|input| input.kind == InputKind::Secret)
        };
        let with: Vec<_> = read
            .with
            .iter()
            .map(|(name, text)| {
                self.names_secret = takes_secret(&name.text);
                let value = self.expr(text, Wanted::Anything, &Site::default(), sight);
                self.names_secret = false;
                Some((name.text.clone(), value?))
            })
            .collect();
        let with: Option<Vec<_>> = with.into_iter().collect();
        let plan = plan?;
        let inherited = self.inherited(&plan, &read, sight);
        self.check_constants(&plan, with.as_deref().unwrap_or_default(), &read.with);
        for (name, _) in &read.with {
            if !plan.inputs.contains_key(&name.text) {
                self.loader.found.push(
                    Diagnostic::new(
                        Code::CallUnknownInput,
                        format!("`{}` has no input `{}`", plan.name, name.text),
                    )
                    .at(name.span, "unknown input")
                    .suggest(&name.text, plan.inputs.keys().map(String::as_str)),
                );
            }
        }
        for (name, input) in plan.inputs.iter().filter(|(_, input)| input.required) {
            let passed = read.with.iter().any(|(given, _)| given.text == *name)
                || inherited.iter().any(|(given, _)| given == name);
            if !passed {
                self.loader.found.push(
                    Diagnostic::new(
                        Code::CallMissingInput,
                        format!("`{}` needs the input `{name}`", plan.name),
                    )
                    .at(read.pipeline.span, format!("without `{name}`"))
                    .at(input.span, "declared here")
                    .help(format!("add `with = {{ {name} = \"…\" }}`")),
                );
            }
        }
        let names = inherited.iter().map(|(name, _)| name.clone()).collect();
        let with = with?.into_iter().chain(inherited).collect();
        Some(Call { plan, with, inherited: names })
    }

    /// The inputs that the called pipeline gets because this one has them, without those that `with` gives.
    fn inherited(&mut self, plan: &Plan, read: &model::Call, sight: &mut Sight) -> Vec<(String, Expr)> {
        let given = |name: &str| read.with.iter().any(|(given, _)| given.text == name);
        let wanted: Vec<(String, Span)> = match &read.inherit {
            None => Vec::new(),
            Some(Inherit::All(at)) => {
                let fits = |name: &String, theirs: &Input| {
                    self.inputs.get(name).is_some_and(|ours| fits(&ours.kind, &theirs.kind))
                };
                let names = plan.inputs.iter().filter(|(name, theirs)| fits(name, theirs));
                let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
                if names.is_empty() {
                    self.loader.found.push(
                        Diagnostic::new(
                            Code::NoEffect,
                            format!("no input of `{}` has the name and the type of one here", plan.name),
                        )
                        .at(*at, "passes nothing")
                        .help("pass inputs by `with`, or declare inputs that have the same names and types"),
                    );
                }
                names.into_iter().map(|name| (name, *at)).collect()
            }
            Some(Inherit::Named(names)) => {
                let fitting = names.iter().filter(|name| self.can_inherit(plan, name));
                fitting.map(|name| (name.text.clone(), name.span)).collect::<Vec<_>>()
            }
        };
        let mut inherited = Vec::new();
        for (name, at) in wanted.into_iter().filter(|(name, _)| !given(name)) {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let text = if plain { format!("inputs.{name}") } else { format!("inputs['{name}']") };
            let text = Text { text, span: at, quoted: false };
            self.names_secret = plan.inputs.get(&name).is_some_and(|input| input.kind == InputKind::Secret);
            let value = self.expr(&text, Wanted::Anything, &Site::default(), sight);
            self.names_secret = false;
            inherited.extend(value.map(|value| (name, value)));
        }
        inherited
    }

    /// Whether both pipelines have the input `name` with one type; complains if not.
    fn can_inherit(&mut self, plan: &Plan, name: &Text) -> bool {
        let (ours, theirs) = (self.inputs.get(&name.text), plan.inputs.get(&name.text));
        let complaint = match (ours, theirs) {
            (Some(ours), Some(theirs)) if fits(&ours.kind, &theirs.kind) => return true,
            (Some(ours), Some(theirs)) => Diagnostic::new(
                Code::InputType,
                format!("`{}` of `{}` has another type than the input here", name.text, plan.name),
            )
            .at(name.span, "")
            .at(ours.span, "declared here")
            .at(theirs.span, "and here")
            .help("give both the same type, or pass it by `with`"),
            (_, None) => Diagnostic::new(
                Code::CallUnknownInput,
                format!("`{}` has no input `{}`", plan.name, name.text),
            )
            .at(name.span, "unknown input")
            .suggest(&name.text, plan.inputs.keys().map(String::as_str)),
            (None, Some(_)) => {
                Diagnostic::new(Code::UnknownInput, format!("there is no input `{}`", name.text))
                    .at(name.span, "not declared here")
                    .suggest(&name.text, self.inputs.keys().map(String::as_str))
            }
        };
        self.loader.found.push(complaint);
        false
    }

    /// Complains about constants that the called pipeline's inputs cannot be.
    fn check_constants(&mut self, plan: &Plan, with: &[(String, Expr)], written: &[(Name, Text)]) {
        for ((name, expr), (_, text)) in with.iter().zip(written) {
            let Some(input) = plan.inputs.get(name) else { continue };
            let read_later = input.kind.is_read();
            let constant =
                if expr.refs().is_empty() { self.loader.constant(expr, &Scope::new()) } else { None };
            let Some(value) =
                constant.map(|data| data.to_value()).filter(|value| !read_later && !value.is_null())
            else {
                continue;
            };
            if let Err((code, message)) = convert(name, input, &value, false) {
                self.loader.found.push(
                    Diagnostic::new(code, message)
                        .at(text.span, "")
                        .at(input.span, "declared here")
                        .help("give a value that fits the declaration; text stands in single quotes"),
                );
            }
        }
    }
}

/// Whether an input of the type `ours` may be passed on as one of the type `theirs`: a choice may be one of more, and the name
/// of a model is text.
fn fits(ours: &InputKind, theirs: &InputKind) -> bool {
    match (ours, theirs) {
        (InputKind::Enum(ours), InputKind::Enum(theirs)) => ours.iter().all(|word| theirs.contains(word)),
        (InputKind::Model, InputKind::String) => true,
        (ours, theirs) => ours == theirs,
    }
}
