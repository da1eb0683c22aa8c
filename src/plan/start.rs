//! Words of a pipeline that may be expressions over its inputs: they are evaluated once, when a run of it starts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::compile::Wanted;
use super::resolve::Resolver;
use super::scope::{Sight, Site};
use super::types::{Action, Body, BodyId, Plan};
use crate::diag::{Code, Diagnostic, Severity, Span, nearest};
use crate::duration;
use crate::expr::{Allowance, Data, Expr, Ref, Scope, Shape, Step as Key, Template, Tree};
use crate::id::StepId;
use crate::model::{self, Name, Text, TimeLimit, Use};
use crate::value::Value;

/// How much work all of them may take, in nodes and items.
const WORK: u64 = 2_000_000;

/// One of these words.
pub struct Setting {
    /// Its path in the pipeline, e.g. `steps.build.timeout`.
    pub path: String,
    /// Where it is written.
    pub span: Span,
    body: BodyId,
    place: usize,
    word: Word,
    formula: Formula,
}

impl Setting {
    /// Its text.
    pub fn text(&self) -> &str {
        match &self.formula {
            Formula::Expr(expr) => expr.text(),
            Formula::Template(template) => template.text(),
        }
    }

    /// Whether it is `retry.max` of this step.
    pub(super) fn is_retries_of(&self, body: BodyId, place: usize) -> bool {
        matches!(self.word, Word::RetryMax) && (self.body, self.place) == (body, place)
    }

    fn eval(&self, scope: &Scope) -> Result<Value, String> {
        let value = match &self.formula {
            Formula::Expr(expr) => expr.eval(scope),
            Formula::Template(template) => template.render(scope),
        };
        value.map(|data| data.to_value()).map_err(|e| e.message)
    }
}

enum Formula {
    Expr(Expr),
    Template(Template),
}

/// What a setting sets.
pub(super) enum Word {
    RetryMax,
    Timeout,
    /// The lane of a step, with all lanes that there are.
    Lane(Arc<[String]>),
    /// The width of a lane.
    Width(String),
    Outage,
    /// A key of the verb on which the lane of the step hangs, with what else is written for the verb.
    Key {
        name: String,
        written: Value,
        lane: fn(&Value) -> &'static str,
    },
}

/// What the settings of a plan came to when a run of it started.
#[derive(Clone, Debug, Default)]
pub struct AtStart {
    /// Their values, by path.
    pub values: IndexMap<String, Value>,
    steps: HashMap<(BodyId, usize), OfStep>,
    widths: HashMap<String, usize>,
}

/// A time limit that is a setting; there may be none.
#[derive(Clone, Copy, Debug)]
struct TimeLimitOf(Option<Duration>);

#[derive(Clone, Debug, Default)]
struct OfStep {
    retries: Option<u32>,
    timeout: Option<TimeLimitOf>,
    lane: Option<String>,
    outage_pauses: Option<bool>,
}

impl AtStart {
    /// `retry.max` of a step, if that is a setting.
    pub fn retries(&self, body: BodyId, place: usize) -> Option<u32> {
        self.steps.get(&(body, place))?.retries
    }

    /// The time limit of a step, `written` if that is no setting.
    pub fn timeout(&self, body: BodyId, place: usize, written: Option<Duration>) -> Option<Duration> {
        let setting = self.steps.get(&(body, place)).and_then(|step| step.timeout);
        setting.map_or(written, |TimeLimitOf(span)| span)
    }

    /// The lane of a step, if that is a setting.
    pub fn lane(&self, body: BodyId, place: usize) -> Option<&str> {
        self.steps.get(&(body, place))?.lane.as_deref()
    }

    /// Whether an outage pauses the run at a step, if that is a setting.
    pub fn outage_pauses(&self, body: BodyId, place: usize) -> Option<bool> {
        self.steps.get(&(body, place))?.outage_pauses
    }

    /// The width of a lane, if that is a setting.
    pub fn width(&self, lane: &str) -> Option<usize> {
        self.widths.get(lane).copied()
    }

    fn put(&mut self, setting: &Setting, value: Value) -> Result<(), String> {
        let step = self.steps.entry((setting.body, setting.place)).or_default();
        match &setting.word {
            Word::RetryMax => step.retries = Some(whole(&value, 0, super::retrying::MOST_RETRIES)?),
            Word::Timeout => step.timeout = Some(TimeLimitOf(span(&value)?)),
            Word::Outage => step.outage_pauses = Some(outage(&value)? == PAUSE),
            Word::Lane(known) => match &value {
                Value::Null => {}
                value => step.lane = Some(lane(value, known)?),
            },
            Word::Width(lane) => {
                let width = whole(&value, 1, u32::MAX)?;
                self.widths.insert(lane.clone(), usize::try_from(width).unwrap_or(usize::MAX));
            }
            Word::Key { name, written, lane } => {
                let mut with = written.clone();
                with[name.as_str()] = value.clone();
                if step.lane.is_none() {
                    step.lane = Some(lane(&with).to_owned());
                }
            }
        }
        self.values.insert(setting.path.clone(), value);
        Ok(())
    }
}

/// A setting that cannot be what it comes to.
pub struct Unfit {
    /// What is wrong.
    pub message: String,
    /// Where the setting is written.
    pub span: Span,
}

impl Plan {
    /// What the settings come to in a run with these `inputs`.
    pub fn at_start(&self, inputs: &Value) -> Result<AtStart, Unfit> {
        let mut made = AtStart::default();
        self.evaluated(
            || Data::from_value(inputs),
            |setting, value| {
                let done = value.and_then(|value| made.put(setting, value));
                done.map_err(|why| Unfit {
                    message: format!("`{}`: {why} (`{}`)", setting.path, setting.text()),
                    span: setting.span,
                })
            },
        )?;
        Ok(made)
    }

    /// The same of inputs of which some may be unknown: settings that hang on these are missing.
    pub fn at_start_so_far(&self, inputs: &Value) -> AtStart {
        self.known(|| Data::from_value(inputs))
    }

    fn known(&self, inputs: impl FnOnce() -> Data) -> AtStart {
        let mut made = AtStart::default();
        let none: Result<(), ()> = self.evaluated(inputs, |setting, value| {
            // What is not known yet is missing.
            value.and_then(|value| made.put(setting, value)).unwrap_or_default();
            Ok(())
        });
        none.unwrap_or_default();
        made
    }

    /// The same as it is on record. What is not, because an earlier version wrote the record, is found anew.
    pub fn at_start_recorded(&self, values: &IndexMap<String, Value>, inputs: &Data) -> AtStart {
        let mut made = self.known(|| inputs.clone());
        for setting in &self.settings {
            if let Some(value) = values.get(&setting.path) {
                made.put(setting, value.clone()).unwrap_or_default();
            }
        }
        made
    }

    fn evaluated<E>(
        &self,
        inputs: impl FnOnce() -> Data,
        mut see: impl FnMut(&Setting, Result<Value, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.settings.is_empty() {
            return Ok(());
        }
        let scope = Scope::new().with("inputs", inputs());
        let scope = scope.within(Arc::new(Allowance::new(WORK)));
        self.settings.iter().try_for_each(|setting| see(setting, setting.eval(&scope)))
    }
}

fn whole(value: &Value, least: u32, most: u32) -> Result<u32, String> {
    let number = value.as_i64().or_else(|| {
        value.as_f64().filter(|n| n.fract() == 0.0).map(|n| {
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and is compared with a range")]
            let n = n as i64;
            n
        })
    });
    let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| match most {
        u32::MAX => format!("{value} is not a whole number of at least {least}"),
        most => format!("{value} is not a whole number from {least} to {most}"),
    })
}

/// A time limit: seconds, or a span; none is no limit.
fn span(value: &Value) -> Result<Option<Duration>, String> {
    let span = match value {
        Value::Null => return Ok(None),
        Value::String(text) => duration::parse(text).ok(),
        value => value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    };
    let span = span.filter(|span| !span.is_zero());
    span.map(Some)
        .ok_or_else(|| format!("{value} is not a time limit; give seconds, or a span such as '30s'"))
}

/// What an outage does.
const PAUSE: &str = "pause";
const OUTAGE: [&str; 2] = [PAUSE, "fail"];

fn outage(value: &Value) -> Result<&str, String> {
    let word = value.as_str().filter(|word| OUTAGE.contains(word));
    word.ok_or_else(|| format!("{value} is neither 'pause' nor 'fail'"))
}

fn lane(value: &Value, known: &[String]) -> Result<String, String> {
    let Some(name) = value.as_str() else { return Err(format!("{value} is not the name of a lane")) };
    if known.iter().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let near = nearest(name, known.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Err(format!("unknown lane `{name}`{near}"))
}

impl Resolver<'_, '_> {
    /// A whole number: as it is written, or a setting.
    pub(super) fn count(&mut self, text: &Text, range: (u32, u32), path: &str, word: Word) -> Option<u32> {
        if text.text == model::ANYTHING {
            return None;
        }
        let expr = self.over_inputs(text, Wanted::Count(range.0, range.1))?;
        if !expr.refs().is_empty() {
            self.setting(path, text.span, word, Formula::Expr(expr));
            return None;
        }
        let value = self.loader.constant(&expr, &Scope::new())?.to_value();
        whole(&value, range.0, range.1).ok()
    }

    /// The time limit of a step, if it is written as a span.
    pub(super) fn time_limit(&mut self, limit: Option<&TimeLimit>) -> Option<Duration> {
        if let Some(TimeLimit::Expr(text)) = limit
            && let Some(expr) = self.over_inputs(text, Wanted::Anything)
        {
            let fits = |shape: &Shape| matches!(shape, Shape::Number | Shape::Text | Shape::None);
            self.must_be(text, fits, "a time limit: seconds, or a span such as `'30s'`");
            self.setting("timeout", text.span, Word::Timeout, Formula::Expr(expr));
        }
        limit.and_then(TimeLimit::span)
    }

    /// The lane of a step, if it is written as a name. Complains about one that nobody declares.
    pub(super) fn lane(&mut self, lane: Option<&Text>) -> Option<String> {
        let lane = lane?;
        let known: Vec<String> = self.known_lanes();
        if !StepId::is_valid(&lane.text) {
            let expr = self.over_inputs(lane, Wanted::Anything)?;
            self.must_be(lane, |shape| matches!(shape, Shape::Text | Shape::None), "the name of a lane");
            self.setting("lane", lane.span, Word::Lane(known.into()), Formula::Expr(expr));
            self.lane_varies = true;
            return None;
        }
        if !known.contains(&lane.text) {
            let complaint = Diagnostic::new(Code::UnknownLane, format!("unknown lane `{}`", lane.text))
                .at(lane.span, "not declared");
            let help = match nearest(&lane.text, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("declare it: `[lanes]` with `{} = 2`", lane.text),
            };
            self.loader.found.push(complaint.help(help));
        }
        Some(lane.text.clone())
    }

    /// Whether an outage pauses the run, if it is written as a word.
    pub(super) fn outage_pauses(&mut self, word: Option<&Text>) -> bool {
        let Some(word) = word else { return true };
        if !StepId::is_valid(&word.text) {
            if let Some(expr) = self.over_inputs(word, Wanted::Anything) {
                self.must_be(word, |shape| matches!(shape, Shape::Text), "'pause' or 'fail'");
                self.setting("on_outage", word.span, Word::Outage, Formula::Expr(expr));
            }
            return true;
        }
        if !OUTAGE.contains(&word.text.as_str()) {
            self.loader.found.push(
                Diagnostic::new(Code::UnknownWord, format!("`on_outage` cannot be `{}`", word.text))
                    .at(word.span, "")
                    .suggest(&word.text, OUTAGE),
            );
        }
        word.text == PAUSE
    }

    fn known_lanes(&self) -> Vec<String> {
        let verbs = self.loader.catalog.lane_names().map(str::to_owned);
        self.lanes.iter().cloned().chain(verbs).collect()
    }

    /// Widths of lanes as they are written; those that are expressions are settings.
    pub(super) fn widths(&mut self, lanes: &[(Name, Text)]) -> IndexMap<String, usize> {
        let mut widths = IndexMap::new();
        for (name, text) in lanes {
            let word = Word::Width(name.text.clone());
            let width = self.count(text, (1, u32::MAX), &format!("lanes.{}", name.text), word);
            widths
                .extend(width.map(|width| (name.text.clone(), usize::try_from(width).unwrap_or(usize::MAX))));
        }
        widths
    }

    /// Keys of a verb on which the lane of the step hangs: what they come to is known when a run starts.
    pub(super) fn keys_at_start(&mut self, used: &Use, with: &Tree) {
        let Some(verb) = self.loader.catalog.find_verb(&used.name.text).cloned() else { return };
        let Tree::Table(entries) = with else { return };
        for name in verb.keys_at_start() {
            let Some(Tree::Template(template)) = entries.get(*name) else { continue };
            let span = used.with.table().and_then(|table| table.get(*name)).map(|entry| entry.node.span);
            let Some(span) = span else { continue };
            self.lane_varies = true;
            if let Some(r) = template.refs().iter().find(|r| !is_input(r)) {
                self.not_at_start(r, span);
                continue;
            }
            let word =
                Word::Key { name: (*name).to_owned(), written: used.with.to_value(), lane: verb.lane_of() };
            let path = format!("{}.{name}", verb.name());
            self.setting(&path, span, word, Formula::Template(template.clone()));
        }
    }

    /// An expression that reads inputs and nothing else.
    fn over_inputs(&mut self, text: &Text, wanted: Wanted) -> Option<Expr> {
        let before = self.loader.found.len();
        let expr = self.expr(text, wanted, &Site::default(), &mut Sight::new())?;
        if let Some(r) = expr.refs().iter().find(|r| !is_input(r)) {
            // It may be wrong in another way as well: one complaint is enough.
            if self.loader.found.len() == before {
                self.not_at_start(r, text.span);
            }
            return None;
        }
        Some(expr)
    }

    fn not_at_start(&mut self, r: &Ref, span: Span) {
        let root = match r.path.first() {
            Some(Key::Key(root)) => root.as_str(),
            _ => "it",
        };
        self.loader.found.push(
            Diagnostic::new(
                Code::NotHere,
                format!("`{root}` is not in scope here: this is evaluated once, when a run starts"),
            )
            .at(span, "")
            .help("read `inputs` and nothing else"),
        );
    }

    /// Complains about an expression that cannot come to `what`.
    fn must_be(&mut self, text: &Text, fits: impl Fn(&Shape) -> bool, what: &str) {
        let shape = self.made(text);
        if !shape.may(fits) {
            self.loader.found.push(
                Diagnostic::new(Code::WrongType, format!("this is {}, not {what}", shape.noun()))
                    .at(text.span, "")
                    .help(format!("give {what}")),
            );
        }
    }

    fn setting(&mut self, path: &str, span: Span, word: Word, formula: Formula) {
        let mut prefix = String::new();
        for level in &self.levels {
            let name = level.current.and_then(|at| level.names.get_index(at));
            if let Some((name, _)) = name {
                let _ = write!(prefix, "steps.{name}.");
            }
        }
        let level = self.levels.last();
        let (body, place) = level.map_or((BodyId::ROOT, 0), |level| (level.id, level.current.unwrap_or(0)));
        self.settings.push(Setting { path: format!("{prefix}{path}"), span, body, place, word, formula });
    }

    /// Complains about lanes that no step uses, of this pipeline or of those that it calls.
    pub(super) fn unused_lanes(&mut self, lanes: &[(Name, Text)], bodies: &[Body]) {
        let (mut used, mut called) = (BTreeSet::new(), HashSet::new());
        // What a wrong step would use is not known.
        let wrong = self.loader.found.iter().any(|found| found.severity == Severity::Error);
        if wrong || self.lane_varies || !lanes_of(bodies, &mut used, &mut called) {
            return;
        }
        for (name, _) in lanes.iter().filter(|(name, _)| !used.contains(&name.text)) {
            let mut complaint =
                Diagnostic::new(Code::UnknownLane, format!("no step uses the lane `{}`", name.text))
                    .at(name.span, "has no effect")
                    .suggest(&name.text, used.iter().map(String::as_str));
            complaint
                .help
                .get_or_insert_with(|| format!("give a step `lane = \"{}\"`, or remove it", name.text));
            self.loader.found.push(complaint);
        }
    }

    /// Whether the step writes its time limit as a span, and where.
    pub(super) fn written_limit(step: &model::Step) -> Option<(Duration, Span)> {
        step.timeout.as_ref().and_then(TimeLimit::span).map(|span| (span, step.id.span))
    }
}

/// Notes the lanes that steps count against, those of called pipelines too; `false` if they are not known before a run.
fn lanes_of(bodies: &[Body], used: &mut BTreeSet<String>, called: &mut HashSet<*const Plan>) -> bool {
    let mut known = true;
    for step in bodies.iter().flat_map(|body| &body.steps) {
        used.insert(step.lane().to_owned());
        if let Action::Call(call) = &step.action
            && called.insert(Arc::as_ptr(&call.plan))
        {
            let varies = |setting: &Setting| matches!(setting.word, Word::Lane(_) | Word::Key { .. });
            known &= !call.plan.settings.iter().any(varies) && lanes_of(&call.plan.bodies, used, called);
        }
    }
    known
}

fn is_input(r: &Ref) -> bool {
    matches!(r.path.first(), Some(Key::Key(root)) if root == "inputs")
}
