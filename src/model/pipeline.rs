use super::fields::{Fields, anything};
use super::step::{Step, steps};
use super::{Name, Node, Raw, Text};
use crate::diag::{Code, Diagnostic, Span};

/// A pipeline as written, after merging `extends` and settings.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Name.
    pub name: Option<Text>,
    /// Purpose.
    pub summary: Option<Text>,
    /// Declared inputs.
    pub inputs: Vec<Input>,
    /// Conditions under which no run is started.
    pub refusals: Vec<Refusal>,
    /// Named pure expressions.
    pub functions: Vec<Function>,
    /// Declared labels.
    pub labels: Vec<Name>,
    /// Caps on spending.
    pub limits: Vec<(Name, Text)>,
    /// Widths of lanes.
    pub lanes: Vec<(Name, Text)>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Outputs.
    pub outputs: Vec<(Name, Text)>,
    /// Conditions for the status of a run.
    pub exits: Vec<Exit>,
}

/// A declared input, as written.
#[derive(Clone, Debug)]
pub struct Input {
    /// Name.
    pub name: Name,
    /// Type.
    pub kind: Option<Text>,
    /// Whether it is required.
    pub required: bool,
    /// Default value.
    pub default: Option<Node>,
    /// Purpose.
    pub help: Option<Text>,
    /// Least value.
    pub min: Option<f64>,
    /// Greatest value.
    pub max: Option<f64>,
    /// Information label.
    pub label: Option<Text>,
    /// Choices of an `enum`; `None` if they are invalid.
    pub values: Option<Vec<Text>>,
}

/// A condition under which inputs are refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Name.
    pub name: Name,
    /// The condition.
    pub when: Text,
    /// Error message.
    pub message: Text,
}

/// A named pure expression.
#[derive(Clone, Debug)]
pub struct Function {
    /// Name.
    pub name: Name,
    /// Names of its arguments.
    pub args: Vec<Text>,
    /// Expression for its value.
    pub value: Text,
}

/// A condition that names the status of a finished run.
#[derive(Clone, Debug)]
pub struct Exit {
    /// The status.
    pub status: Name,
    /// Condition under which it applies.
    pub when: Text,
    /// The process exit code.
    pub code: i32,
}

/// Supported version of the language.
const VERSION: i64 = 1;

impl Pipeline {
    /// Reads a merged tree. Diagnostics go to `found`; valid parts are read nevertheless.
    pub fn read(root: Node, top: Span, found: &mut Vec<Diagnostic>) -> Self {
        let mut fields = Fields::new(root, top, "the pipeline", found);
        version(&mut fields, top);
        for merged in ["extends", "defaults"] {
            fields.entry(merged);
        }
        let read = Self {
            name: fields.text("name"),
            summary: fields.text("summary"),
            inputs: named(&mut fields, "inputs", input),
            refusals: named(&mut fields, "refuse", refusal),
            functions: named(&mut fields, "functions", function),
            labels: named(&mut fields, "labels", label),
            limits: fields.named_exprs("limits"),
            lanes: fields.named_exprs("lanes"),
            steps: fields.node("steps").map(|node| steps(node, fields.found())).unwrap_or_default(),
            outputs: fields.named_exprs("outputs"),
            exits: named(&mut fields, "exits", exit),
        };
        fields.finish();
        read
    }
}

fn version(fields: &mut Fields<'_>, top: Span) {
    let complaint = match fields.entry("atoll") {
        Some(entry) => match entry.node.value {
            Raw::Int(VERSION) => return,
            _ => {
                Diagnostic::new(Code::LanguageVersion, "this program supports only version 1 of the language")
                    .at(entry.node.span, "another version")
            }
        },
        None => Diagnostic::new(Code::LanguageVersion, "the language version of the pipeline is missing")
            .at(top, ""),
    };
    fields.found().push(complaint.help("begin the file with `atoll = 1`"));
}

/// The exit code of a process.
pub(super) fn code(fields: &mut Fields<'_>) -> Option<i32> {
    fields.int("code", 0..=255).and_then(|code| i32::try_from(code).ok())
}

pub(super) fn named<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    read: impl Fn(Name, Node, &mut Vec<Diagnostic>) -> Option<T>,
) -> Vec<T> {
    let entries = fields.named(key);
    entries.into_iter().filter_map(|(name, node)| read(name, node, fields.found())).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "one of the readers that `named` takes")]
fn input(name: Name, node: Node, found: &mut Vec<Diagnostic>) -> Option<Input> {
    let mut fields = Fields::new(node, name.span, "the input", found);
    let kind = fields.text("type");
    let kind = fields.need("type", kind, "e.g. `type = \"string\"`");
    let before = fields.found().len();
    let values = fields.texts("values");
    let values = (fields.found().len() == before).then_some(values);
    let read = Input {
        kind,
        required: fields.bool("required").unwrap_or(false),
        default: fields.node("default"),
        help: fields.text("help"),
        min: fields.number("min"),
        max: fields.number("max"),
        label: fields.text("label"),
        values,
        name,
    };
    fields.finish();
    Some(read)
}

fn refusal(name: Name, node: Node, found: &mut Vec<Diagnostic>) -> Option<Refusal> {
    let mut fields = Fields::new(node, name.span, "the refusal", found);
    let when = fields.expr("when");
    let when = fields.need(
        "when",
        when,
        "write when it applies: `when = \"inputs.a is none and inputs.b is none\"`",
    );
    let message = fields.text("message");
    let message = fields.need("message", message, "write what to do instead: `message = \"set a or b\"`");
    fields.finish();
    Some(Refusal { name, when: when?, message: message? })
}

fn function(name: Name, node: Node, found: &mut Vec<Diagnostic>) -> Option<Function> {
    let mut fields = Fields::new(node, name.span, "the function", found);
    let args = fields.texts("args");
    let value = fields.expr("value");
    let value = fields.need("value", value, "e.g. `value = \"x * 2\"`");
    fields.finish();
    let value = value.unwrap_or_else(|| anything(name.span));
    Some(Function { name, args, value })
}

#[expect(clippy::unnecessary_wraps, reason = "one of the readers that `named` takes")]
fn label(name: Name, node: Node, found: &mut Vec<Diagnostic>) -> Option<Name> {
    let mut fields = Fields::new(node, name.span, "the label", found);
    fields.text("help");
    fields.number("max_bits");
    fields.finish();
    Some(name)
}

fn exit(status: Name, node: Node, found: &mut Vec<Diagnostic>) -> Option<Exit> {
    let mut fields = Fields::new(node, status.span, "the exit", found);
    let when = fields.expr("when");
    let when = fields.need("when", when, "write when it applies: `when = \"not outputs.passed\"`");
    let code = code(&mut fields);
    fields.finish();
    Some(Exit { status, when: when?, code: code.unwrap_or(0) })
}
