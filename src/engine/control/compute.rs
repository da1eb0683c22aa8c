use super::super::Run;
use super::super::frame::Spot;
use super::super::scope::eval_failure;
use crate::expr::{Data, EvalError, Expr, Scope};
use crate::plan::{Compute, Step};
use crate::value::Value;
use crate::verb::Failure;

/// The most rounds a pure loop may ask for.
const MOST: i64 = 1_000_000;

impl Run {
    /// Evaluates a pure loop to its end: `{…last state, n}`.
    pub(super) fn computed(&self, spot: Spot, step: &Step, compute: &Compute) -> Result<Value, Failure> {
        let failed = |e: EvalError| eval_failure("compute", &e);
        let mut scope = self.scope(spot.0, &step.sees)?;
        if let Some(seed) = &compute.seed {
            let seed = seed.eval(&scope).map_err(failed)?;
            scope = scope.with("seed", seed);
        }
        let max = compute.max.eval(&scope).map_err(failed)?;
        let max = max.as_i64().filter(|max| (0..=MOST).contains(max)).ok_or_else(|| {
            Failure::permanent(format!(
                "`max` of a compute step is a whole number up to {MOST}, not {}",
                max.noun()
            ))
        })?;
        let mut state = table(&compute.init, &scope).map_err(failed)?;
        let mut n = 0;
        let seen = |state: &[(String, Data)], n: i64| {
            scope.with("state", Data::table(state.to_vec())).with("n", Data::from_value(&n.into()))
        };
        while n < max {
            let scope = seen(&state, n);
            if let Some(until) = &compute.until
                && until.eval_bool(&scope).map_err(failed)?
            {
                break;
            }
            for (name, value) in table(&compute.next, &scope).map_err(failed)? {
                set(&mut state, name, value);
            }
            n += 1;
        }
        let mut output: serde_json::Map<String, Value> =
            state.into_iter().map(|(name, data)| (name, data.to_value())).collect();
        output.insert("n".to_owned(), n.into());
        Ok(Value::Object(output))
    }
}

/// Evaluates every entry in the same scope.
pub(super) fn table(entries: &[(String, Expr)], scope: &Scope) -> Result<Vec<(String, Data)>, EvalError> {
    entries.iter().map(|(name, expr)| Ok((name.clone(), expr.eval(scope)?))).collect()
}

/// Sets `name` in a table kept as a list.
pub(super) fn set(table: &mut Vec<(String, Data)>, name: String, value: Data) {
    match table.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => table.push((name, value)),
    }
}
