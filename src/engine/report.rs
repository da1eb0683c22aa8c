//! Taking in what came of orders: outputs are checked, failures become another attempt, an end or a pause.

use super::budget::Claim;
use super::frame::Spot;
use super::node::Node;
use super::retry::{self, Verdict};
use super::run::Run;
use super::scope::{eval_failure, failure_data};
use super::slot::INLINE;
use super::turn::values_of;
use super::{Fact, Mismatch, Pause, Report, Standing, control};
use crate::clock::Millis;
use crate::expr::{Data, Scope};
use crate::id::Address;
use crate::plan::{Retry, Step};
use crate::value::Value;
use crate::verb::{Class, Failure, Output};

impl Run {
    /// Takes in what came of an order. Reports about what has ended meanwhile are let go.
    pub fn report(&mut self, now: Millis, report: Report) -> Result<(), Mismatch> {
        match report {
            Report::Ran { address, attempt: 0, result, .. } => self.ran_at_pause(now, &address, result),
            Report::Ran { address, attempt, result, cached } => {
                let Some(spot) = self.under_way(&address, attempt) else { return Ok(()) };
                let scope = || self.scope_at(spot);
                match result.and_then(|output| self.accept(spot, output, scope)) {
                    Ok(output) => {
                        let value = self.keep(output.value, INLINE);
                        let fact = Fact::Succeeded { output: value, spent: output.spent, cached };
                        self.emit(now, address, attempt, fact)
                    }
                    Err(failure) => self.falter(now, spot, failure),
                }
            }
            Report::Computed { address, result } => self.computed(now, &address, result),
            Report::Cursor { address, attempt, cursor } => match self.under_way(&address, attempt) {
                Some(_) => self.emit(now, address, attempt, Fact::CursorSaved { cursor }),
                None => Ok(()),
            },
            Report::Keyed { address, attempt, key } => match self.under_way(&address, attempt) {
                Some(_) => self.emit(now, address, attempt, Fact::CacheKey(key)),
                None => Ok(()),
            },
            Report::Claim { address, attempt, more } => {
                if let Some(spot) = self.under_way(&address, attempt) {
                    self.claims.push(Claim { spot, attempt, more });
                }
                Ok(())
            }
            Report::Settled { address, attempt, instead } => match self.under_way(&address, attempt) {
                Some(_) => self.settle(now, address, attempt, &instead),
                None => Ok(()),
            },
            Report::Acquired { address, attempt, result } => {
                let Some(spot) = self.under_way(&address, attempt) else { return Ok(()) };
                match result {
                    Ok(held) => {
                        let held = self.keep(held, INLINE);
                        self.emit(now, address, attempt, Fact::Acquired { held })
                    }
                    Err(failure) => self.falter(now, spot, failure),
                }
            }
            Report::Read { address, values } => control::read(self, now, &address, values),
            Report::Released { address, held } => control::released(self, now, &address, held),
            Report::Answered { address, answer, by, note } => {
                let spot = self.locate(&address);
                match spot.map(|spot| &self.frame(spot.0).nodes[spot.1]) {
                    Some(Node::Asking { question, .. }) => {
                        let question = question.digest;
                        self.emit(now, address, 0, Fact::Answered { answer, by, question, note })
                    }
                    _ => Ok(()),
                }
            }
            Report::Unasked { address } => self.unasked(now, &address),
            Report::Limits { caps, by } => self.emit(now, Address::root(), 0, Fact::Limited { caps, by }),
            Report::Pause { pause, message } if self.standing == Standing::Going => {
                self.emit(now, Address::root(), 0, Fact::Paused { pause, message, reasons: Vec::new() })
            }
            Report::Pause { .. } => Ok(()),
            Report::Kill => {
                self.at_pause.stop();
                Ok(())
            }
        }
    }

    fn under_way(&self, address: &Address, attempt: u32) -> Option<Spot> {
        let spot = self.locate(address)?;
        match &self.frame(spot.0).nodes[spot.1] {
            Node::Running(tries) if tries.begun == attempt => Some(spot),
            _ => None,
        }
    }

    /// Checks an output against the step's schema and checks, which see `scope`.
    pub(super) fn accept(
        &self,
        spot: Spot,
        output: Output<Value>,
        scope: impl FnOnce() -> Result<Scope, Failure>,
    ) -> Result<Output<Value>, Failure> {
        let frame = self.frame(spot.0);
        let step = frame.step(spot.1);
        let reject = |message: String, why: Value| {
            let detail = serde_json::json!({"answer": output.value, "violations": why});
            Failure::rejected(message).detail(detail).spent(output.spent.clone())
        };
        if let Some(schema) = &step.output {
            let violations = schema.violations(&output.value);
            if !violations.is_empty() {
                let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
                let message = format!("the output does not fit {}: {}", schema.name(), list.join("; "));
                return Err(reject(message, Value::from(list)));
            }
        }
        if !step.check.is_empty() {
            let scope = scope()?.with("output", Data::from_value(&output.value));
            for check in &step.check {
                if !check.eval_bool(&scope).map_err(|e| eval_failure("check", &e))? {
                    let message = format!("the check `{}` does not hold", check.text());
                    return Err(reject(message, values_of(check, &scope)));
                }
            }
        }
        Ok(output)
    }

    fn falter(&mut self, now: Millis, spot: Spot, failure: Failure) -> Result<(), Mismatch> {
        let (address, tries) = (self.address(spot), self.tries(spot));
        if failure.class == Class::Cancelled && self.pause().is_some() {
            let fact = Fact::Interrupted { spent: failure.spent, unsettled: *failure.unsettled };
            return self.emit(now, address, tries.begun, fact);
        }
        if failure.class == Class::Budget && tries.unfunded {
            return self.block(now, spot, failure, Pause::Budget);
        }
        let step = self.frame(spot.0).step(spot.1);
        let policy = &step.retry;
        let outage = retry::Outage { pauses: step.outage_pauses, timeout: step.timeout };
        let narrowed = self.narrowed(spot, step, &failure);
        let policy = narrowed.as_ref().unwrap_or(policy);
        let verdict = retry::decide(policy, outage, &tries, &failure, now, (self.seed, address.as_str()));
        let failure = Failure { outage: failure.outage && step.outage_pauses, ..failure };
        match verdict {
            Verdict::Again { at, charged } => {
                let fact = Fact::Faltered { failure, again_at: Some(at), charged, waits: None };
                self.emit(now, address, tries.begun, fact)
            }
            Verdict::Pause(pause) if !self.never_waits(spot, &failure) => {
                self.block(now, spot, failure, pause)
            }
            Verdict::Fail | Verdict::Pause(_) => {
                let failure = tries.last(failure);
                self.emit(now, address, tries.begun, Fact::Failed { failure })
            }
        }
    }

    /// The policy without retries where `retry.when` excludes this failure.
    fn narrowed(&self, spot: Spot, step: &Step, failure: &Failure) -> Option<Retry> {
        let when = step.retry.when.as_ref()?;
        let scope = self.scope_at(spot).ok()?.with("error", failure_data(failure));
        // What cannot be evaluated, because this failure has no such detail, does not hold.
        let holds = when.eval_bool(&scope).unwrap_or(false);
        (!holds).then(|| Retry { max: 0, ..step.retry.clone() })
    }

    /// The step waits for `pause` to end; the attempt is made again when the run is resumed.
    fn block(&mut self, now: Millis, spot: Spot, failure: Failure, pause: Pause) -> Result<(), Mismatch> {
        let fact = Fact::Faltered { failure, again_at: None, charged: false, waits: Some(pause) };
        self.emit(now, self.address(spot), self.tries(spot).begun, fact)
    }
}
