//! Time limits: those that are never reached, and keys that do nothing to the steps inside a step.

use std::time::Duration;

use super::resolve::Resolver;
use super::steps::CONTROL;
use super::types::Limit;
use crate::diag::{Code, Diagnostic};
use crate::duration;
use crate::expr::Scope;
use crate::meter::Unit;
use crate::model::{self, Use};

impl Resolver<'_, '_> {
    /// Complains about a time limit that an outer one makes pointless.
    pub(super) fn time_limits(&mut self, step: &model::Step) {
        let inner = step.uses.iter().find_map(|used| {
            let text = used.with.table()?.get("timeout")?.node.text()?;
            Some((duration::parse(&text.text).ok()?, text.span))
        });
        let own = Self::written_limit(step);
        if let (Some((outer, _)), Some((inner, span))) = (own, inner)
            && inner > outer
        {
            let message = format!("this `timeout` of {} is never reached", duration::rounded(inner));
            self.loader.found.push(
                Diagnostic::new(Code::NeverReached, message)
                    .at(span, "")
                    .at(step.id.span, format!("the step ends after {}", duration::rounded(outer)))
                    .help("make it shorter than the step's `timeout`, or remove it"),
            );
        }
        let inner = inner.filter(|(inner, _)| own.is_none_or(|(outer, _)| *inner <= outer));
        self.timeouts.extend(own.into_iter().chain(inner));
    }

    /// Complains about keys of a step with steps inside that these do not keep to.
    pub(super) fn inside_unbound(&mut self, step: &model::Step, used: Option<&Use>) {
        let Some(used) =
            used.filter(|used| ["loop", "each", "call", "hold"].contains(&used.name.text.as_str()))
        else {
            return;
        };
        let verb = &used.name.text;
        let timeout = step.timeout.as_ref().map(|_| {
            (
                format!("`timeout` of a step with `{verb}` bounds only what its own expressions take"),
                "give the steps inside a `timeout` of their own, or the run a `wall` under [limits]",
            )
        });
        let retry = Self::retry_outside(step, verb);
        for (message, help) in timeout.into_iter().chain(retry) {
            let found = Diagnostic::new(Code::InsideUnbound, message).at(step.id.span, "");
            self.loader.found.push(found.help(help));
        }
    }

    /// Complains about words of the header that do nothing to a step with this control verb.
    pub(super) fn without_effect(&mut self, step: &model::Step, used: Option<&Use>) {
        let Some(verb) = used.map(|used| used.name.text.as_str()).filter(|verb| CONTROL.contains(verb))
        else {
            return;
        };
        let (gives, acquires) = (["call", "compute", "ask"].contains(&verb), verb == "hold");
        let words = [
            ("output", step.output.is_some() && !gives),
            ("check", !step.check.is_empty() && !gives),
            ("cache", step.cache),
            ("lane", step.lane.is_some() && !acquires),
            ("idempotent", step.idempotent && !acquires),
            ("on_interrupt", step.on_interrupt.is_some() && !acquires),
            ("on_outage", step.on_outage.is_some() && !acquires),
        ];
        for (word, _) in words.into_iter().filter(|(_, useless)| *useless) {
            self.loader.found.push(
                Diagnostic::new(Code::NoEffect, format!("`{word}` has no effect on a step with `{verb}`"))
                    .at(step.id.span, "")
                    .help(format!("remove it, or write `{word}` in the steps inside")),
            );
        }
    }

    /// The same for the time limit of the whole run, where it is known.
    pub(super) fn whole_time(&mut self, limits: &[Limit]) {
        let wall = limits.iter().find(|limit| limit.unit == Unit::Wall && limit.cap.refs().is_empty());
        let value =
            wall.and_then(|limit| self.loader.constant(&limit.cap, &Scope::new())).map(|cap| cap.to_value());
        let span = value.and_then(|value| match value.as_str() {
            Some(text) => duration::parse(text).ok(),
            None => Duration::try_from_secs_f64(value.as_f64()?).ok(),
        });
        let Some(wall) = span else { return };
        for (inner, span) in std::mem::take(&mut self.timeouts) {
            if inner > wall {
                let message = format!("a `timeout` of {} here is never reached", duration::rounded(inner));
                self.loader.found.push(
                    Diagnostic::new(Code::NeverReached, message)
                        .at(span, "")
                        .help(format!("the whole run ends after {}: `limits.wall`", duration::rounded(wall))),
                );
            }
        }
    }
}
