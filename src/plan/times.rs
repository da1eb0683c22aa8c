//! Time limits: those that are never reached, and keys that do nothing to the steps inside a step.

use std::time::Duration;

use super::resolve::Resolver;
use super::types::Limit;
use crate::clock::parse_span;
use crate::diag::{Code, Diagnostic};
use crate::expr::Scope;
use crate::model::{self, Use};

/// A span of time as authors write it.
fn spell(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    let (amount, unit) = match seconds {
        s if s >= 3600.0 => (s / 3600.0, "h"),
        s if s >= 60.0 => (s / 60.0, "m"),
        s if s >= 1.0 => (s, "s"),
        s => (s * 1000.0, "ms"),
    };
    let text = format!("{amount:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

impl Resolver<'_, '_> {
    /// Complains about a time limit that an outer one makes pointless.
    pub(super) fn time_limits(&mut self, step: &model::Step) {
        let inner = step.uses.iter().find_map(|used| {
            let text = used.with.table()?.get("timeout")?.node.text()?;
            Some((parse_span(&text.text)?, text.span))
        });
        if let (Some(outer), Some((inner, span))) = (step.timeout, inner)
            && inner > outer
        {
            let message = format!("this `timeout` of {} is never reached", spell(inner));
            self.loader.found.push(
                Diagnostic::new(Code::NeverReached, message)
                    .at(span, "")
                    .at(step.id.span, format!("the step ends after {}", spell(outer)))
                    .help("make it shorter than the step's `timeout`, or remove it"),
            );
        }
        let own = step.timeout.map(|span| (span, step.id.span));
        let inner = inner.filter(|(inner, _)| step.timeout.is_none_or(|outer| *inner <= outer));
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
        let timeout = step.timeout.map(|_| {
            (
                format!("`timeout` of a step with `{verb}` bounds only what its own expressions take"),
                "give the steps inside a `timeout` of their own, or the run a `wall` under [limits]",
            )
        });
        let retry = step.retry.as_ref().map(|_| {
            (
                format!("a step with `{verb}` is not tried again"),
                "give the steps inside a `retry` of their own",
            )
        });
        for (message, help) in timeout.into_iter().chain(retry) {
            let found = Diagnostic::new(Code::InsideUnbound, message).at(step.id.span, "");
            self.loader.found.push(found.help(help));
        }
    }

    /// The same for the time limit of the whole run, where it is known.
    pub(super) fn whole_time(&mut self, limits: &[Limit]) {
        let wall = limits.iter().find(|limit| limit.unit == "wall" && limit.cap.refs().is_empty());
        let value =
            wall.and_then(|limit| self.loader.constant(&limit.cap, &Scope::new())).map(|cap| cap.to_value());
        let span = value.and_then(|value| match value.as_str() {
            Some(text) => parse_span(text),
            None => Duration::try_from_secs_f64(value.as_f64()?).ok(),
        });
        let Some(wall) = span else { return };
        for (inner, span) in std::mem::take(&mut self.timeouts) {
            if inner > wall {
                let message = format!("a `timeout` of {} here is never reached", spell(inner));
                self.loader.found.push(
                    Diagnostic::new(Code::NeverReached, message)
                        .at(span, "")
                        .help(format!("the whole run ends after {}: `limits.wall`", spell(wall))),
                );
            }
        }
    }
}
