use std::sync::Arc;

use super::resolve::Resolver;
use super::takes::convert;
use super::types::{Input, InputKind};
use crate::diag::{Code, Diagnostic, Span};
use crate::expr::{Choices, FaultKind, Functions};
use crate::model::{self, Pipeline, Text};
use crate::value::Value;

impl Resolver<'_, '_> {
    /// Takes what a pipeline declares: functions and inputs.
    pub(super) fn declare(&mut self, pipeline: &Pipeline) {
        let entries = pipeline.functions.iter().map(|function| {
            let args = function.args.iter().map(|arg| arg.text.clone()).collect();
            (function.name.text.clone(), args, function.value.text.clone())
        });
        let (functions, faults) = Functions::declare(entries.collect());
        self.functions = functions;
        let names = pipeline.functions.iter().map(|function| &function.name);
        self.uncalled = names.map(|name| (name.text.clone(), name.span)).collect();
        for function in &pipeline.functions {
            self.note_calls(&function.value.text);
        }
        for (index, fault) in faults {
            let Some(function) = pipeline.functions.get(index) else { continue };
            if fault.range.is_empty() && fault.kind == FaultKind::Syntax {
                let complaint = Diagnostic::new(Code::ExpressionSyntax, fault.message);
                let complaint = complaint.at(function.name.span, "").help("choose another name");
                self.loader.found.push(complaint);
            } else {
                self.fault(&function.value, &fault, Code::ExpressionSyntax);
            }
        }
        for input in &pipeline.inputs {
            let read = self.input(input);
            if let InputKind::Enum(words) = &read.kind {
                let words = words.iter().map(|word| Value::from(word.as_str())).collect();
                self.enums.insert(input.name.text.clone(), Arc::new(Choices::of(words)));
            }
            self.inputs.insert(input.name.text.clone(), read);
        }
    }

    /// What is known of an input. Of one whose type is wrong nothing is: who reads it makes no mistake.
    fn input(&mut self, input: &model::Input) -> Input {
        let known = input.kind.as_ref().and_then(|text| kind(text, input));
        if let (Some(text), None) = (&input.kind, &known)
            && !KINDS.contains(&text.text.as_str())
        {
            self.loader.found.push(
                Diagnostic::new(Code::UnknownWord, format!("there is no type of input `{}`", text.text))
                    .at(text.span, "unknown type")
                    .suggest(&text.text, KINDS),
            );
        }
        if let Some(label) = &input.label {
            self.label(label);
        }
        let is_known = known.is_some();
        let mut read = Input {
            kind: known.unwrap_or(InputKind::Json),
            required: input.required,
            default: Value::Null,
            help: input.help.as_ref().map(|help| help.text.clone()).unwrap_or_default(),
            min: input.min,
            max: input.max,
            label: input.label.as_ref().map(|label| label.text.clone()),
            span: input.name.span,
        };
        if is_known {
            self.check_declaration(input, &mut read);
        }
        read
    }

    fn check_declaration(&mut self, input: &model::Input, read: &mut Input) {
        let name = &input.name.text;
        let mut complain = |span, message: String, help: &str| {
            self.loader.found.push(Diagnostic::new(Code::InputDeclaration, message).at(span, "").help(help));
        };
        if let (Some(min), Some(max)) = (input.min, input.max)
            && min > max
        {
            complain(
                read.span,
                format!("no value of `{name}` is both at least {min} and at most {max}"),
                "swap `min` and `max`",
            );
        }
        match &read.kind {
            InputKind::Enum(values) if values.is_empty() => {
                complain(
                    read.span,
                    format!("the enum `{name}` has no values"),
                    "list them: `values = [\"a\", \"b\"]`",
                );
            }
            InputKind::Enum(_) => {}
            _ => {
                if let Some(value) = input.values.iter().flatten().next() {
                    complain(value.span, "only an enum has `values`".to_owned(), "write `type = \"enum\"`");
                }
            }
        }
        let Some(default) = &input.default else { return };
        if read.required {
            complain(
                default.span,
                format!("`{name}` is required and has a default"),
                "leave one of the two out",
            );
        }
        if read.kind.is_read() {
            read.default = default.to_value();
            return;
        }
        match convert(name, read, &default.to_value(), false) {
            Ok(value) => {
                read.default = value;
                self.check_model(default.span, read);
            }
            Err((_, message)) => {
                complain(default.span, message, "let the default fit the type and its bounds");
            }
        }
    }

    /// Complains about a default that is the name of no model.
    fn check_model(&mut self, span: Span, read: &Input) {
        let model = read.default.as_str().filter(|_| read.kind == InputKind::Model);
        if let Some((message, help)) = model.and_then(|model| self.loader.catalog.unknown_model(model)) {
            self.loader.found.push(Diagnostic::new(Code::Refused, message).at(span, "").help(help));
        }
    }

    /// Complains about a label that is not declared.
    pub(super) fn label(&mut self, label: &Text) {
        if !self.labels.contains(&label.text) {
            let mut complaint =
                Diagnostic::new(Code::UnknownLabel, format!("there is no label `{}`", label.text))
                    .at(label.span, "not declared")
                    .suggest(&label.text, self.labels.iter().map(String::as_str));
            complaint.help.get_or_insert_with(|| format!("declare it: `[labels.{}]`", label.text));
            self.loader.found.push(complaint);
        }
    }
}

const KINDS: [&str; 16] = [
    "string",
    "int",
    "number",
    "bool",
    "enum",
    "file",
    "file_path",
    "dir",
    "path",
    "output_path",
    "json",
    "list",
    "duration",
    "usd",
    "model",
    "secret",
];

fn kind(text: &Text, input: &model::Input) -> Option<InputKind> {
    Some(match text.text.as_str() {
        "string" => InputKind::String,
        "int" => InputKind::Int,
        "number" => InputKind::Number,
        "bool" => InputKind::Bool,
        "enum" => InputKind::Enum(input.values.as_ref()?.iter().map(|value| value.text.clone()).collect()),
        "file" => InputKind::File,
        "file_path" => InputKind::FilePath,
        "dir" => InputKind::Dir,
        "path" => InputKind::Path,
        "output_path" => InputKind::OutputPath,
        "json" => InputKind::Json,
        "list" => InputKind::List,
        "duration" => InputKind::Duration,
        "usd" => InputKind::Usd,
        "model" => InputKind::Model,
        "secret" => InputKind::Secret,
        _ => return None,
    })
}
