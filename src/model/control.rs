use std::time::Duration;

use super::fields::Fields;
use super::pipeline::{code, named};
use super::step::Use;
use super::{Name, Node, Raw, Text};
use crate::diag::{Code, Diagnostic, Span};

/// `loop`: rounds with carried state.
#[derive(Clone, Debug)]
pub struct Loop {
    /// Maximum number of rounds.
    pub max: Option<Text>,
    /// List to fold over.
    pub over: Option<Text>,
    /// Name of the item.
    pub item: Option<Text>,
    /// Initial state.
    pub state: Vec<(Name, Text)>,
    /// Names that are computed in each round.
    pub lets: Vec<(Name, Text)>,
    /// Next state.
    pub next: Vec<(Name, Text)>,
    /// Named changes of state.
    pub rules: Vec<Rule>,
    /// Conditions that end the loop.
    pub exits: Vec<LoopExit>,
    /// Expression for `result` in its output.
    pub result: Option<Text>,
    /// Expression for its output if the run pauses during a round.
    pub so_far: Option<Text>,
    /// Failure classes that do not end the loop.
    pub counts: Option<Vec<Text>>,
    /// Spending limit of one round, by unit.
    pub budget: Vec<(Name, Text)>,
    /// Amounts that must be left before a round starts, by unit.
    pub fund: Vec<(Name, Text)>,
    /// Whether `max` or `over` is written, even with an error.
    pub bounded: bool,
}

/// A named change of a loop's state.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name.
    pub name: Name,
    /// Condition under which it applies.
    pub when: Text,
    /// New values of the state.
    pub set: Vec<(Name, Text)>,
}

/// A condition that ends a loop.
#[derive(Clone, Debug)]
pub struct LoopExit {
    /// The loop's status.
    pub status: Name,
    /// Condition.
    pub when: Text,
    /// The exit code of a run that ends with this status.
    pub code: Option<i32>,
}

/// `each`: items in parallel.
#[derive(Clone, Debug)]
pub struct Each {
    /// List of items.
    pub over: Text,
    /// Name of the item.
    pub item: Option<Text>,
    /// Key of each item.
    pub key: Option<Text>,
    /// Number of items that run at the same time.
    pub parallel: Option<Text>,
    /// Effect of the failure of an item.
    pub on_error: Option<Text>,
    /// Number of failures after which it fails.
    pub max_failures: Option<Text>,
    /// Expression for the result of an item.
    pub result: Option<Text>,
}

/// `hold`: a resource for a body.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Named resources; there should be exactly one.
    pub resources: Vec<Use>,
    /// Expression for `result` in its output.
    pub result: Option<Text>,
}

/// `call`: another pipeline.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name.
    pub pipeline: Text,
    /// Inputs of the called pipeline.
    pub with: Vec<(Name, Text)>,
    /// Inputs of the caller that are passed as well.
    pub inherit: Option<Inherit>,
}

/// Inputs of the caller that a called pipeline receives.
#[derive(Clone, Debug)]
pub enum Inherit {
    /// All inputs that both have; with the position in the file.
    All(Span),
    /// The named inputs.
    Named(Vec<Text>),
}

/// `ask`: a question to a person.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Question.
    pub question: Text,
    /// Possible answers.
    pub choices: Option<Node>,
    /// Type of a free answer.
    pub answer: Option<Text>,
    /// Values to show to the person.
    pub show: Option<Node>,
    /// Additional values that the answer depends on.
    pub binds: Option<Node>,
    /// Answer if no person can be asked.
    pub default: Option<Node>,
    /// Time limit for the answer.
    pub deadline: Option<Duration>,
    /// Answer at the deadline.
    pub at_deadline: Option<Node>,
}

/// `compute`: a pure loop in memory.
#[derive(Clone, Debug)]
pub struct Compute {
    /// Seed.
    pub seed: Option<Text>,
    /// Initial state.
    pub init: Vec<(Name, Text)>,
    /// Names for this round.
    pub lets: Vec<(Name, Text)>,
    /// Next state.
    pub next: Vec<(Name, Text)>,
    /// Condition that ends it.
    pub until: Option<Text>,
    /// Maximum number of rounds.
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
    let when = fields.need("when", when, "write when the rule applies: `when = \"state.n > 2\"`");
    let set = fields.named_exprs("set");
    fields.finish();
    Some(Rule { name, when: when?, set })
}

fn exit(status: Name, node: Node, found: &mut Found) -> Option<LoopExit> {
    let mut fields = Fields::new(node, status.span, "the exit", found);
    let when = fields.expr("when");
    let when = fields.need("when", when, "write when it applies: `when = \"state.best > 95\"`");
    let code = code(&mut fields);
    fields.finish();
    Some(LoopExit { status, when: when?, code })
}

/// Reads the value of `as`, which must be a plain name.
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

/// Reads `inherit` of a `call`: `true`, or a list of names.
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
    let message = format!("`inherit` must be `true` or a list of names, but is {}", node.noun());
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
        let question = fields.need("question", question, "write the question: `question = \"Continue?\"`");
        let (choices, answer) = (fields.node("choices"), fields.text("type"));
        let (show, binds) = (fields.node("show"), fields.node("binds"));
        let (default, deadline) = (fields.node("default"), fields.span("deadline"));
        let at_deadline = fields.node("at_deadline");
        if let (Some(node), false) = (&at_deadline, fields.has("deadline")) {
            fields.found().push(
                Diagnostic::new(Code::MissingKey, "`deadline` is missing: `at_deadline` needs it")
                    .at(node.span, "used at the deadline")
                    .help("add a time limit: `deadline = \"2h\"`"),
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
        let max = fields.need("max", max, "set a limit: `max = 1000`");
        let (seed, until) = (fields.expr("seed"), fields.expr("until"));
        let (init, next) = (fields.named_exprs("init"), fields.named_exprs("next"));
        let lets = fields.named_exprs("let");
        fields.finish();
        Some(Self { seed, init, lets, next, until, max: max? })
    }
}
