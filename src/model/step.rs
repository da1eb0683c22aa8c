use std::time::Duration;

use super::fields::{Fields, bad_span};
use super::{Name, Node, Raw, Text};
use crate::diag::{Code, Diagnostic};
use crate::duration;
use crate::id::StepId;

/// One step: its header, the other entries of its table, and the steps inside it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Name.
    pub id: Name,
    /// Class of steps whose defaults apply.
    pub class: Option<Text>,
    /// Named expressions for its own texts and those of the steps inside it.
    pub lets: Vec<(Name, Text)>,
    /// Condition under which it runs.
    pub when: Option<Text>,
    /// Steps that must have ended before.
    pub needs: Vec<Text>,
    /// Steps that may fail or be skipped without this one being skipped.
    pub tolerates: Vec<Text>,
    /// Retries of failures.
    pub retry: Option<Retry>,
    /// Time limit of one attempt.
    pub timeout: Option<TimeLimit>,
    /// The lane it counts against.
    pub lane: Option<Text>,
    /// Spending limit of all attempts and everything inside it together, by unit.
    pub budget: Vec<(Name, Text)>,
    /// A schema: the name of a file, or the schema itself.
    pub output: Option<Node>,
    /// Conditions for the output.
    pub check: Vec<Check>,
    /// Labels that must not reach it.
    pub forbid: Vec<Text>,
    /// Removal of labels; read by the label check.
    pub declassify: Option<Node>,
    /// Whether a recorded output may be reused.
    pub cache: bool,
    /// Globs of files that a cached step reads.
    pub inputs: Option<Vec<Text>>,
    /// Globs of files that a cached step writes.
    pub produces: Vec<Text>,
    /// Whether an attempt may be repeated after a crash.
    pub idempotent: bool,
    /// What to do with an attempt that was interrupted by a crash.
    pub on_interrupt: Option<Text>,
    /// What to do if the other side is down.
    pub on_outage: Option<Text>,
    /// Position of the key that makes the step also run when the run pauses.
    pub on_pause: Option<crate::diag::Span>,
    /// Position of the key that makes the step run after everything else, in any case.
    pub always: Option<crate::diag::Span>,
    /// What its failure fails: `none`, or by default the enclosing body.
    pub fails: Option<Text>,
    /// Keys that are not header keys: one of them should be a verb.
    pub uses: Vec<Use>,
    /// Whether it is a table, which can contain a verb.
    pub is_table: bool,
    /// Position of the key `steps` and the steps, if there is a body.
    pub body: Option<(crate::diag::Span, Vec<Step>)>,
}

/// A key of a step that is not a header key, with its value.
#[derive(Clone, Debug)]
pub struct Use {
    /// The key.
    pub name: Name,
    /// The value, untouched.
    pub with: Node,
}

/// A condition on the output of a step.
#[derive(Clone, Debug)]
pub struct Check {
    /// Condition.
    pub that: Text,
    /// Template for the message if it does not hold.
    pub otherwise: Option<Text>,
}

/// A time limit.
#[derive(Clone, Debug)]
pub enum TimeLimit {
    /// A duration.
    Span(Duration),
    /// An expression for a duration.
    Expr(Text),
}

impl TimeLimit {
    /// The duration, if it is written as one.
    pub fn span(&self) -> Option<Duration> {
        match self {
            Self::Span(span) => Some(*span),
            Self::Expr(_) => None,
        }
    }
}

/// Retries of failures, as written.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// The most retries.
    pub max: Option<Text>,
    /// Shortest and longest pause.
    pub backoff: Option<(Duration, Duration)>,
    /// Classes of failures.
    pub on: Option<Vec<Text>>,
    /// Condition on the failure.
    pub when: Option<Text>,
    /// Condition on the output that ends the attempts.
    pub until: Option<Text>,
}

impl Step {
    /// Keys of the header of a step.
    pub const HEADER: [&'static str; 23] = [
        "class",
        "let",
        "when",
        "needs",
        "tolerates",
        "retry",
        "timeout",
        "lane",
        "budget",
        "output",
        "check",
        "forbid",
        "declassify",
        "cache",
        "inputs",
        "produces",
        "idempotent",
        "on_interrupt",
        "on_outage",
        "on_pause",
        "always",
        "fails",
        "steps",
    ];

    /// Calls `see` for every text that may be an expression or a template, also in the steps inside it.
    pub fn each_text(&self, see: &mut impl FnMut(&str)) {
        let checks = self.check.iter().flat_map(|check| [&check.that].into_iter().chain(&check.otherwise));
        let named = self.lets.iter().chain(&self.budget).map(|(_, text)| text);
        let header = self.when.iter().chain(checks).chain(named);
        let retry = self.retry.iter().flat_map(|retry| retry.when.iter().chain(&retry.until));
        header.chain(retry).for_each(|text| see(&text.text));
        self.uses.iter().for_each(|used| texts(&used.with, see));
        for step in self.body.iter().flat_map(|(_, steps)| steps) {
            step.each_text(see);
        }
    }

    fn read(id: Name, node: Node, found: &mut Vec<Diagnostic>) -> Self {
        let mut fields = Fields::new(node, id.span, "the step", found);
        let body = fields.entry("steps").map(|entry| (entry.key, steps(entry.node, fields.found())));
        let retry = fields.entry("retry").map(|entry| {
            let mut fields = Fields::new(entry.node, entry.key, "`retry`", fields.found());
            let max = fields.expr("max");
            let backoff = fields.text("backoff").and_then(|text| backoff(&text, fields.found()));
            let on = fields.entry("on").map(|entry| words(entry.node, "on", fields.found()));
            let (when, until) = (fields.expr("when"), fields.expr("until"));
            fields.finish();
            Retry { max, backoff, on, when, until }
        });
        let cache = fields.bool("cache");
        let mut step = Self {
            class: fields.text("class"),
            lets: fields.named_exprs("let"),
            when: fields.expr("when"),
            needs: fields.texts("needs"),
            tolerates: fields.texts("tolerates"),
            retry,
            timeout: fields.time_limit("timeout"),
            lane: fields.text("lane"),
            budget: fields.named_exprs("budget"),
            output: fields.node("output"),
            check: fields.checks("check"),
            forbid: fields.texts("forbid"),
            declassify: fields.node("declassify"),
            cache: cache.unwrap_or(false),
            inputs: fields.entry("inputs").map(|entry| words(entry.node, "inputs", fields.found())),
            produces: fields.texts("produces"),
            idempotent: fields.bool("idempotent").unwrap_or(false),
            on_interrupt: fields.text("on_interrupt"),
            on_outage: fields.text("on_outage"),
            on_pause: fields.flag("on_pause"),
            always: fields.flag("always"),
            fails: fields.text("fails"),
            uses: Vec::new(),
            is_table: fields.is_table(),
            body,
            id,
        };
        if cache.is_none() && fields.has("cache") {
            // It is unknown whether the step is cached.
            (step.inputs, step.produces) = (None, Vec::new());
        }
        step.uses = fields
            .rest()
            .into_iter()
            .map(|(text, entry)| Use { name: Name { text, span: entry.key }, with: entry.node })
            .collect();
        step
    }
}

fn texts(node: &Node, see: &mut impl FnMut(&str)) {
    match &node.value {
        Raw::Text(text) => see(text),
        Raw::List(items) => items.iter().for_each(|item| texts(item, see)),
        Raw::Table(table) => table.values().for_each(|entry| texts(&entry.node, see)),
        _ => {}
    }
}

/// Reads a table of steps.
pub(super) fn steps(node: Node, found: &mut Vec<Diagnostic>) -> Vec<Step> {
    let Raw::Table(table) = node.value else {
        found.push(super::fields::wrong(&node, "steps", "a table"));
        return Vec::new();
    };
    let mut steps = Vec::with_capacity(table.len());
    for (text, entry) in table {
        let id = Name { text, span: entry.key };
        if !StepId::is_valid(&id.text) {
            let hint = "a name begins with a letter or `_`, then letters, digits, `_` and `-`";
            found.push(
                Diagnostic::new(Code::BadName, format!("`{}` cannot name a step", id.text))
                    .at(id.span, "")
                    .help(hint),
            );
        }
        steps.push(Step::read(id, entry.node, found));
    }
    steps
}

fn words(node: Node, key: &'static str, found: &mut Vec<Diagnostic>) -> Vec<Text> {
    let at = node.span;
    let table = [(key.to_owned(), super::Entry { key: at, node })].into_iter().collect();
    Fields::new(Node { span: at, value: Raw::Table(table) }, at, key, found).texts(key)
}

/// Reads a backoff: `2s`, or `2s..60s`.
fn backoff(text: &Text, found: &mut Vec<Diagnostic>) -> Option<(Duration, Duration)> {
    let (from, to) = text.text.split_once("..").unwrap_or((&text.text, &text.text));
    let Some((from, to)) = duration::parse(from).ok().zip(duration::parse(to).ok()) else {
        found.push(bad_span(text));
        return None;
    };
    if from > to {
        found.push(
            Diagnostic::new(Code::BadRange, "the shortest pause is longer than the longest")
                .at(text.span, "")
                .help("write the shorter duration first: `2s..60s`"),
        );
        return None;
    }
    Some((from, to))
}
