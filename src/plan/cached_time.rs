//! Time in the input of a cached step: its key would never repeat.

use super::resolve::Resolver;
use super::scope::Site;
use crate::diag::{Code, Diagnostic};
use crate::expr::{Ref, Step};
use crate::model::Text;

impl Resolver<'_, '_> {
    /// Complains about a reference to the time, directly or through `let`, in the input of a cached step.
    pub(super) fn cached_time(&mut self, text: &Text, r: &Ref, site: &Site<'_>) {
        let Some(step) = self.cached.filter(|_| site.attempt) else { return };
        if !self.through_lets(std::iter::once(r)).iter().any(|r| is_time(r)) {
            return;
        }
        let span = self.key_span(text, r, 0);
        self.loader.found.push(
            Diagnostic::new(Code::CachedTime, "a cached step whose input has the time is never found again")
                .at(span, "differs in each run")
                .at(step, "`cache = true`")
                .help("remove `cache`, or read a value that repeats, such as an input with the day"),
        );
    }
}

fn is_time(r: &Ref) -> bool {
    let Some(Step::Key(root)) = r.path.first() else { return false };
    let time = match root.as_str() {
        "run" => "started_at",
        "attempt" => "at",
        _ => return false,
    };
    // All of `run` has the time in it, too.
    !matches!(r.path.get(1), Some(Step::Key(field)) if field != time)
}
