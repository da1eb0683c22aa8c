use super::compile::Wanted;
use super::resolve::Resolver;
use super::scope::{Sight, Site};
use super::takes::convert;
use super::types::{Call, InputKind, Plan};
use crate::diag::{Code, Diagnostic};
use crate::expr::{Expr, Scope};
use crate::model::{self, Name, Text, Use};

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
            if !read.with.iter().any(|(given, _)| given.text == *name) {
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
        Some(Call { plan, with: with? })
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
