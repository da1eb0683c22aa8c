//! Which steps wait for which, and why. Steps that run always wait for all others.

use super::accepts::Accepts;
use super::resolve::Resolver;
use super::scope::Level;
use super::shape;
use super::steps::CONTROL;
use super::types::Dep;
use crate::diag::{Code, Diagnostic, Span};
use crate::expr::{Ref, Shape};
use crate::model::{self, Text, Use};

/// Why a step, or an expression that closes a body, waits for another step.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent reasons")]
pub(super) struct Wait {
    pub(super) first: Span,
    /// Reads its output.
    pub(super) output: bool,
    /// Reads the items of an `each`.
    pub(super) items: bool,
    /// Reads it on the left of `??`, or asks how it ended: it may be absent.
    pub(super) absence: bool,
    pub(super) needed: bool,
    /// What `tolerates` says of it.
    pub(super) tolerates: Accepts,
}

impl Wait {
    fn new(first: Span) -> Self {
        Self { first, output: false, items: false, absence: false, needed: false, tolerates: Accepts::OUTPUT }
    }

    /// The endings that are accepted.
    pub(super) fn accepts(&self) -> Accepts {
        self.tolerates.or(if self.absence { Accepts::ABSENCE } else { Accepts::OUTPUT })
    }

    /// What a plan says of waiting for the step at `place`.
    pub(super) fn dep(&self, place: usize) -> Dep {
        let items = self.items && !self.output && !self.needed;
        Dep { step: place, accepts: self.accepts(), items }
    }
}

impl Level {
    /// Every step that runs always waits for all that do not. However those end, it runs.
    pub(super) fn wait_for_all(&mut self) {
        let others: Vec<usize> = (0..self.always.len()).filter(|place| !self.always[*place]).collect();
        for place in (0..self.always.len()).filter(|place| self.always[*place]) {
            let waits = &mut self.waits[place];
            for other in &others {
                waits.entry(*other).or_insert(Wait::new(self.spans[place]));
            }
            waits.values_mut().for_each(|wait| wait.tolerates = Accepts::all());
        }
    }
}

impl Resolver<'_, '_> {
    /// Notes that the current step of the body at `depth`, or what closes the body, waits for the step at `place`.
    pub(super) fn wait(&mut self, depth: usize, place: usize, first: Span, note: impl FnOnce(&mut Wait)) {
        let level = &mut self.levels[depth];
        let current = level.current;
        if level.always[place] && !current.is_some_and(|current| level.always[current]) {
            let complaint = Diagnostic::new(
                Code::Always,
                "this step runs when everything else has ended, so only steps that do so too can wait for it",
            );
            let complaint = complaint
                .at(first, "")
                .at(level.spans[place], "`always = true`")
                .help("remove this reference, or `always`");
            self.loader.found.push(complaint);
            return;
        }
        let waits = current.map_or(&mut level.closing, |current| &mut level.waits[current]);
        note(waits.entry(place).or_insert(Wait::new(first)));
    }

    /// Complains about the last value of a `??` in an expression that closes a body: what may be absent has to be followed by
    /// another value, because such an expression cannot be skipped.
    pub(super) fn must_not_be_absent(&mut self, text: &Text, r: &Ref) {
        if self.levels.last().is_none_or(|level| level.current.is_some()) {
            return;
        }
        let span = self.key_span(text, r, 1);
        self.loader.found.push(
            Diagnostic::new(Code::OpenChain, "the last value of this `??` may be absent")
                .at(span, "has no output if it is skipped")
                .help("end with a value that is always there: `… ?? none`"),
        );
    }

    /// Whether what is being resolved is a step that runs always.
    pub(super) fn is_always(&self) -> bool {
        self.levels.last().is_some_and(|level| level.current.is_some_and(|current| level.always[current]))
    }

    /// What is known of `run` here.
    pub(super) fn run_shape(&self) -> Shape {
        let texts = ["id", "address", "instance", "started_at", "dir"].map(|name| (name, Shape::Text));
        let fields = texts.into_iter().chain([("spent", shape::spent())]);
        Shape::table(fields.chain(self.is_always().then_some(("status", Shape::Text))))
    }

    pub(super) fn no_status(&mut self, text: &Text, r: &Ref) {
        let span = self.key_span(text, r, 1);
        self.loader.found.push(
            Diagnostic::new(Code::NotHere, "the run has no status before everything has ended")
                .at(span, "")
                .help("`run.status` is in scope in steps with `always = true`"),
        );
    }

    /// Whether the step runs when everything else has ended. Nothing is paid then, and after a stop and a resume it runs
    /// again.
    pub(super) fn always(&mut self, step: &model::Step, used: Option<&Use>) -> bool {
        let Some(at) = step.always else { return false };
        let Some(used) = used else { return true };
        let name = used.name.text.as_str();
        let verb = self.loader.catalog.find_verb(name).map(|verb| verb.traits());
        let refusal = match verb {
            _ if self.levels.len() > 1 => Some((
                format!(
                    "`{}` is inside a body, and only steps of the pipeline itself can run always",
                    step.id.text
                ),
                "put `always` on a step outside, which reads what the body leaves: `steps.NAME.output`",
            )),
            _ if step.on_pause.is_some() => Some((
                "`always` and `on_pause` exclude each other: a pause is no end".to_owned(),
                "keep `on_pause` for what is delivered meanwhile, `always` for what comes last",
            )),
            _ if step.cache => Some((
                "a step with `always` runs each time, so `cache` has no effect".to_owned(),
                "remove `cache`",
            )),
            _ if step.fails.is_some() => Some((
                "the failure of a step with `always` changes nothing about how the run ends".to_owned(),
                "remove `fails`",
            )),
            None if CONTROL.contains(&name) => Some((
                format!("a step with `{name}` cannot run always"),
                "use a step with one verb that costs nothing, e.g. `shell`, `deliver` or `write`",
            )),
            Some(traits) if traits.paid => Some((
                format!("a step with `{name}` may cost money, which a run that has ended cannot spend"),
                "use a verb that costs nothing, e.g. `shell`, `deliver` or `write`",
            )),
            _ => None,
        };
        if let Some((message, help)) = refusal {
            self.loader.found.push(Diagnostic::new(Code::Always, message).at(at, "").help(help));
        }
        true
    }
}
