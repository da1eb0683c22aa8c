//! Caps on spending: no attempt that may cost anything begins once a cap is reached.

use super::Run;
use super::scope::eval_failure;
use crate::plan::{BodyId, Limit};
use crate::verb::Failure;

impl Run {
    /// What to tell people where a cap is reached, `None` where there is room.
    pub(super) fn exhausted(&self) -> Result<Option<String>, Failure> {
        let raised = &self.settings.caps;
        for limit in self.plan.limits.iter().filter(|limit| !raised.contains_key(&limit.unit)) {
            if let Some(cap) = self.cap(limit)?
                && let Some(message) = self.reached(&limit.unit, cap)
            {
                return Ok(Some(message));
            }
        }
        Ok(raised.iter().find_map(|(unit, cap)| self.reached(unit, *cap)))
    }

    fn cap(&self, limit: &Limit) -> Result<Option<f64>, Failure> {
        let root = self.by_address[&crate::id::Address::root()];
        debug_assert_eq!(self.frame(root).body, BodyId::ROOT);
        let scope = self.frame(root).names.with("run", self.sums.clone());
        let cap = limit.cap.eval(&scope).map_err(|e| eval_failure("limit", &e))?;
        Ok(cap.to_value().as_f64())
    }

    fn reached(&self, unit: &str, cap: f64) -> Option<String> {
        let spent = match unit {
            "tokens" => self.spent.get("tokens_in") + self.spent.get("tokens_out"),
            unit => self.spent.get(unit),
        };
        (spent >= cap).then(|| {
            format!("{spent} of {cap} {unit} are spent; `atoll resume RUN --limit {unit}=N` goes on with a higher cap")
        })
    }
}
