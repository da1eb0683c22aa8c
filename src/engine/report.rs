//! Taking in what came of orders: outputs are checked, failures become another attempt, an end or a pause.

use super::budget::Claim;
use super::decided::values_of;
use super::evaluate::{Evaluated, Unready};
use super::frame::Spot;
use super::node::{Node, Tries};
use super::retry::{self, Verdict};
use super::run::{Run, Work};
use super::scope::{eval_failure, failure_data};
use super::slot::INLINE;
use super::{Fact, Mismatch, Pause, Report, RunStatus, control};
use crate::clock::Millis;
use crate::expr::{Data, Scope};
use crate::id::Address;
use crate::plan::{Check, Retry, Step};
use crate::value::{Value, unrecordable};
use crate::verb::{Class, Failure, Output};

/// What is decided about an output.
enum Judged {
    Taken,
    /// It breaks the schema or a check.
    Refused(Failure),
    /// It is right, but not what the step waits for.
    Again(Failure),
}

impl Judged {
    fn again(failure: Option<Failure>) -> Self {
        failure.map_or(Self::Taken, Self::Again)
    }
}

/// What came of an attempt.
pub(super) enum Unchecked {
    /// An output that has not passed the checks yet, with the number of its attempt and whether an earlier run recorded it.
    Output((u32, Output<Value>, bool)),
    /// A failure of which `retry.when` has not told yet whether it is tried again.
    Failure(Failure),
}

impl Run {
    /// Takes in what came of an order. Reports about what has ended meanwhile are let go.
    pub fn report(&mut self, now: Millis, report: Report) -> Result<(), Mismatch> {
        match report {
            Report::Ran { address, attempt: 0, result, .. } => {
                self.ran_at_pause(now, &address, result.map_err(Failure::recordable))
            }
            Report::Ran { address, attempt, result, cached } => {
                let Some(spot) = self.under_way(&address, attempt) else { return Ok(()) };
                match result.map_err(Failure::recordable) {
                    Ok(output) => self.accept(now, spot, (attempt, output, cached)),
                    Err(failure) => self.falter(now, spot, failure),
                }
            }
            Report::Computed { address, result } => self.computed(now, &address, result),
            Report::Evaluated { purpose, result } => self.evaluated(now, purpose, result),
            Report::Cursor { address, attempt, cursor } => match self.under_way(&address, attempt) {
                // What could not be read back is no help to the next attempt.
                Some(_) if unrecordable("it", &cursor).is_some() => Ok(()),
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
            Report::Pause { pause, message } if self.status == RunStatus::Going => {
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

    /// Takes an output that fits the step's schema and passes its checks.
    fn accept(
        &mut self,
        now: Millis,
        spot: Spot,
        (attempt, output, cached): (u32, Output<Value>, bool),
    ) -> Result<(), Mismatch> {
        let work = Work::Accept(spot);
        self.evaluations.begin(work);
        let judged = match self.refused(spot, &output) {
            Ok(None) => self.again_until(spot, &output.value).map(Judged::again),
            Ok(Some(failure)) => Ok(Judged::Refused(failure)),
            Err(unready) => Err(unready),
        };
        self.evaluations.end(work);
        match judged {
            Ok(Judged::Taken) => {
                let value = self.keep(output.value, INLINE);
                let fact = Fact::Succeeded { output: value, spent: output.spent, cached };
                self.emit(now, self.address(spot), attempt, fact)
            }
            Ok(Judged::Again(failure)) => {
                let tries = self.tries(spot);
                self.again_after(now, spot, &tries, failure.spent(output.spent))
            }
            Ok(Judged::Refused(failure)) | Err(Unready::Failed(failure)) => {
                self.falter(now, spot, failure.spent(output.spent))
            }
            Err(Unready::Later) => {
                self.unchecked.insert(spot, Unchecked::Output((attempt, output, cached)));
                Ok(())
            }
        }
    }

    /// The same of what came of an attempt, once the evaluation has ended that took long.
    pub(super) fn accept_again(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        match self.unchecked.remove(&spot).filter(|_| self.frames.contains_key(&spot.0)) {
            Some(Unchecked::Output(output)) => self.accept(now, spot, output),
            Some(Unchecked::Failure(failure)) => self.falter(now, spot, failure),
            _ => {
                self.evaluations.end(Work::Accept(spot));
                Ok(())
            }
        }
    }

    /// Why an output is not taken.
    pub(super) fn refused(&mut self, spot: Spot, output: &Output<Value>) -> Evaluated<Option<Failure>> {
        let step = self.plan_step(spot);
        if let Some(failure) = misfit(&step, output) {
            return Ok(Some(failure));
        }
        if step.check.is_empty() {
            return Ok(None);
        }
        let scope = self.scope_at(spot)?.with("output", Data::from_value(&output.value));
        let output = output.clone();
        self.evaluate("check", &scope, move |scope| failed_check(&step, &output, scope))
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
        let work = Work::Accept(spot);
        self.evaluations.begin(work);
        let allowed = self.retry_allowed(spot, &failure);
        self.evaluations.end(work);
        let (allowed, failure) = match allowed {
            Ok(allowed) => (allowed, failure),
            Err(Unready::Later) => {
                self.unchecked.insert(spot, Unchecked::Failure(failure));
                return Ok(());
            }
            Err(Unready::Failed(why)) if why.class == Class::Cancelled && self.pause().is_some() => {
                let fact = Fact::Interrupted { spent: failure.spent, unsettled: *failure.unsettled };
                return self.emit(now, address, tries.begun, fact);
            }
            Err(Unready::Failed(why)) => (false, unevaluated(failure, &why)),
        };
        let frame = self.frame(spot.0);
        let outage = retry::Outage { pauses: frame.outage_pauses(spot.1), timeout: frame.timeout(spot.1) };
        let retry = frame.retry(spot.1);
        let narrowed = (!allowed).then(|| Retry { max: 0, ..retry.as_ref().clone() });
        let policy = narrowed.as_ref().unwrap_or(&retry);
        let verdict = retry::decide(policy, outage, &tries, &failure, now, (self.seed, address.as_str()));
        let failure = Failure { outage: failure.outage && outage.pauses, ..failure };
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

    /// Why a step is tried again although its output is right: `retry.until` is not true yet, and there are retries left.
    pub(super) fn again_until(&mut self, spot: Spot, output: &Value) -> Evaluated<Option<Failure>> {
        let frame = self.frame(spot.0);
        let retry = frame.retry(spot.1);
        let charged = match &frame.nodes[spot.1] {
            Node::Open(control) => control.tries().map_or(0, |tries| tries.charged),
            _ => self.tries(spot).charged,
        };
        let Some(until) = retry.until.clone().filter(|_| charged < retry.max) else { return Ok(None) };
        let scope = self.scope_at(spot)?.with("output", Data::from_value(output));
        let output = output.clone();
        self.evaluate("retry.until", &scope, move |scope| {
            if until.eval_bool(scope).map_err(|e| eval_failure("retry.until", &e))? {
                return Ok(None);
            }
            let message = format!("`{}` is not true yet", until.text());
            let detail = serde_json::json!({"answer": output, "violations": values_of(&until, scope)});
            Ok(Some(Failure::rejected(message).detail(detail)))
        })
    }

    /// The step is tried again after `failure`, which counts.
    fn again_after(
        &mut self,
        now: Millis,
        spot: Spot,
        tries: &Tries,
        failure: Failure,
    ) -> Result<(), Mismatch> {
        let address = self.address(spot);
        let retry = self.frame(spot.0).retry(spot.1);
        let at = now.saturating_add(retry::backoff(&retry, tries.charged, (self.seed, address.as_str())));
        let fact = Fact::Faltered { failure, again_at: Some(at), charged: true, waits: None };
        self.emit(now, address, tries.begun, fact)
    }

    /// A `call` is made again: its pipeline failed, or `until` says so.
    pub(super) fn call_again(&mut self, now: Millis, spot: Spot, failure: Failure) -> Result<(), Mismatch> {
        let tries = match &self.frame(spot.0).nodes[spot.1] {
            Node::Open(control) => control.tries().cloned().unwrap_or_default(),
            _ => Tries::default(),
        };
        self.again_after(now, spot, &tries, failure.recordable())
    }

    /// The pipeline that was called failed: it is called again if `retry` says so.
    pub(super) fn call_failed(&mut self, now: Millis, spot: Spot, failure: Failure) -> Result<(), Mismatch> {
        let frame = self.frame(spot.0);
        let (retry, tries) = match &frame.nodes[spot.1] {
            Node::Open(control) => (frame.retry(spot.1), control.tries()),
            _ => (frame.retry(spot.1), None),
        };
        let covered =
            retry.on.contains(&failure.class) && tries.is_some_and(|tries| tries.charged < retry.max);
        if !covered {
            return self.fail(now, spot, failure);
        }
        match self.retry_allowed(spot, &failure) {
            Ok(true) => self.call_again(now, spot, failure),
            Ok(false) => self.fail(now, spot, failure),
            Err(Unready::Later) => Ok(()),
            Err(Unready::Failed(why)) => self.fail(now, spot, unevaluated(failure, &why)),
        }
    }

    /// Whether `retry.when` allows another attempt after `failure`.
    fn retry_allowed(&mut self, spot: Spot, failure: &Failure) -> Evaluated<bool> {
        let Some(when) = self.frame(spot.0).step(spot.1).retry.when.clone() else { return Ok(true) };
        let scope = self.scope_at(spot)?.with("error", failure_data(failure));
        // What cannot be evaluated, because this failure has no such detail, does not hold.
        self.evaluate("retry.when", &scope, move |scope| Ok(when.eval_bool(scope).unwrap_or(false)))
    }

    /// The step waits for `pause` to end; the attempt is made again when the run is resumed.
    fn block(&mut self, now: Millis, spot: Spot, failure: Failure, pause: Pause) -> Result<(), Mismatch> {
        let fact = Fact::Faltered { failure, again_at: None, charged: false, waits: Some(pause) };
        self.emit(now, self.address(spot), self.tries(spot).begun, fact)
    }
}

/// `failure`, which is not tried again because `retry.when` could not be evaluated.
fn unevaluated(failure: Failure, why: &Failure) -> Failure {
    let hint = format!("it is not tried again: {}", why.message);
    Failure { hint: Some(failure.hint.map_or(hint.clone(), |known| format!("{known}; {hint}"))), ..failure }
}

/// How an output does not fit the schema of its step.
pub(super) fn misfit(step: &Step, output: &Output<Value>) -> Option<Failure> {
    if let Some(why) = unrecordable("the output", &output.value) {
        return Some(Failure::rejected(why));
    }
    let schema = step.output.as_ref()?;
    let violations = schema.violations(&output.value);
    if violations.is_empty() {
        return None;
    }
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let message = format!("the output does not fit {}: {}", schema.name(), list.join("; "));
    Some(rejected(message, output, &Value::from(list)))
}

/// The first check of a step that does not hold in `scope`, which has the output.
pub(super) fn failed_check(
    step: &Step,
    output: &Output<Value>,
    scope: &Scope,
) -> Result<Option<Failure>, Failure> {
    for Check { that, otherwise } in &step.check {
        if that.eval_bool(scope).map_err(|e| eval_failure("check", &e))? {
            continue;
        }
        let message = match otherwise {
            Some(text) => text.render_text(scope).map_err(|e| eval_failure("else", &e))?,
            None => format!("the check `{}` does not hold", that.text()),
        };
        return Ok(Some(rejected(message, output, &values_of(that, scope))));
    }
    Ok(None)
}

fn rejected(message: String, output: &Output<Value>, why: &Value) -> Failure {
    let detail = serde_json::json!({"answer": output.value, "violations": why});
    Failure::rejected(message).detail(detail).spent(output.spent.clone())
}
