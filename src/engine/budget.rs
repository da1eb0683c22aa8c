//! Caps on spending: no attempt that may cost anything begins once a cap is reached.

use super::Run;
use super::scope::eval_failure;
use crate::plan::{BodyId, Limit};
use crate::verb::Failure;

impl Run {
    /// What to tell people where a cap is reached, `None` where there is room.
    pub(super) fn exhausted(&self) -> Result<Option<String>, Failure> {
        for limit in &self.plan.limits {
            if let Some(message) = self.reached(limit)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn reached(&self, limit: &Limit) -> Result<Option<String>, Failure> {
        let root = self.by_address[&crate::id::Address::root()];
        debug_assert_eq!(self.frame(root).body, BodyId::ROOT);
        let scope = self.frame(root).names.with("run", self.run_data.clone());
        let cap = limit.cap.eval(&scope).map_err(|e| eval_failure("limit", &e))?;
        let Some(cap) = cap.to_value().as_f64() else { return Ok(None) };
        let spent = match limit.unit.as_str() {
            "tokens" => self.spent.get("tokens_in") + self.spent.get("tokens_out"),
            unit => self.spent.get(unit),
        };
        Ok((spent >= cap).then(|| format!("{spent} of {cap} {} are spent", limit.unit)))
    }
}
