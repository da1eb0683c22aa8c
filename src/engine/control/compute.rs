use std::sync::Arc;

use super::super::frame::Spot;
use super::super::scope::eval_failure;
use super::super::slot::bounded;
use super::super::{Mismatch, Order, Run};
use super::whole_number;
use crate::clock::Millis;
use crate::expr::{Allowance, Data, EvalError, Expr, Memo, Scope};
use crate::id::Address;
use crate::plan::{Action, Body, Compute, MOST_ROUNDS, Plan};
use crate::value::Value;
use crate::verb::{Class, Failure};

/// A pure loop that is to be evaluated: it knows all it needs, and may be interrupted and gone on with.
#[derive(Clone)]
pub struct Computation {
    plan: Arc<Plan>,
    place: (usize, usize),
    /// What its expressions see.
    scope: Scope,
    /// Set once it has begun.
    rounds: Option<Rounds>,
}

#[derive(Clone)]
struct Rounds {
    /// Names, which are texts, and values.
    state: Vec<(Data, Data)>,
    /// By entry of `next`: its place in the state.
    places: Vec<usize>,
    n: i64,
    max: i64,
    /// What functions gave in this round or the last.
    memo: Memo,
}

impl std::fmt::Debug for Computation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Computation({:?}, {:?})", self.place, self.rounds.as_ref().map(|rounds| rounds.n))
    }
}

impl Computation {
    /// Goes on until it comes to its end, `{…last state, n}`, or `allowance` is used up, which is `None`.
    pub fn advance(&mut self, allowance: &Arc<Allowance>) -> Option<Result<Value, Failure>> {
        let plan = self.plan.clone();
        let compute = action(&plan.bodies[self.place.0], self.place.1)?;
        self.scope = std::mem::take(&mut self.scope).within(allowance.clone());
        let done = self.go_on(compute, allowance);
        if done.is_err() && allowance.is_used_up() { None } else { Some(done) }
    }

    fn go_on(&mut self, compute: &Compute, allowance: &Allowance) -> Result<Value, Failure> {
        let failed = |e: EvalError| eval_failure("compute", &e);
        let mut rounds = match self.rounds.take() {
            Some(rounds) => rounds,
            None => self.begin(compute)?,
        };
        while rounds.n < rounds.max {
            // A round may be too little work to ask for itself whether it is time to stop.
            if !allowance.goes_on() {
                self.rounds = Some(rounds);
                return Err(Failure::cancelled());
            }
            self.scope.set("state", Data::table_of_unequal(rounds.state.iter().cloned()));
            self.scope.set("n", Data::from(rounds.n));
            let round = round(compute, &compute.lets.within(&self.scope), &mut rounds.memo);
            if round.is_err() && allowance.is_used_up() {
                // The round begins again with what the last one left.
                self.rounds = Some(rounds);
                return Err(Failure::cancelled());
            }
            let Some(next) = round.map_err(failed)? else { break };
            rounds.places.iter().zip(next).for_each(|(place, value)| rounds.state[*place].1 = value);
            rounds.n += 1;
        }
        bounded("the state", rounds.state.iter().map(|(_, value)| value))?;
        let mut output: serde_json::Map<String, Value> = rounds
            .state
            .into_iter()
            .map(|(name, data)| (name_of(&name).to_owned(), data.to_value()))
            .collect();
        output.insert("n".to_owned(), rounds.n.into());
        Ok(Value::Object(output))
    }

    fn begin(&mut self, compute: &Compute) -> Result<Rounds, Failure> {
        let failed = |e: EvalError| eval_failure("compute", &e);
        let eval = |expr: &Expr, scope: &Scope| expr.eval(scope).map_err(failed);
        let mut scope = self.scope.clone();
        if let Some(seed) = &compute.seed {
            scope.set("seed", eval(seed, &scope)?);
        }
        let max = eval(&compute.max, &scope)?;
        let max = i64::from(whole_number("max", &max, MOST_ROUNDS)?);
        let entry = |(name, expr): &(String, Expr)| Ok((Data::from(name.as_str()), eval(expr, &scope)?));
        let mut state = compute.init.iter().map(entry).collect::<Result<Vec<(Data, Data)>, Failure>>()?;
        let mut place = |name: &str| {
            state.iter().position(|(known, _)| name_of(known) == name).unwrap_or_else(|| {
                state.push((Data::from(name), Data::none()));
                state.len() - 1
            })
        };
        let places = compute.next.iter().map(|(name, _)| place(name)).collect();
        self.scope = scope;
        Ok(Rounds { state, places, n: 0, max, memo: Memo::default() })
    }
}

/// One round: the values of `next` in its order, or nothing where the loop has come to its end.
fn round(compute: &Compute, scope: &Scope, memo: &mut Memo) -> Result<Option<Vec<Data>>, EvalError> {
    if let Some(until) = &compute.until
        && until.eval_bool(scope)?
    {
        return Ok(None);
    }
    let next = compute.next.iter().map(|(_, expr)| expr.eval_with(scope, memo));
    next.collect::<Result<_, _>>().map(Some)
}

fn name_of(name: &Data) -> &str {
    name.as_str().unwrap_or_default()
}

fn action(body: &Body, place: usize) -> Option<&Compute> {
    match &body.steps.get(place)?.action {
        Action::Compute(compute) => Some(compute),
        _ => None,
    }
}

impl Run {
    /// Asks for a pure loop to be evaluated. That is on no record: after a crash it is asked for again.
    pub(super) fn compute(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        if self.computing.contains(&spot) {
            return Ok(());
        }
        let scope = match self.scope_at(spot) {
            Ok(scope) => scope,
            Err(failure) => return self.fail(now, spot, failure),
        };
        let frame = self.frame(spot.0);
        let work =
            Computation { plan: frame.plan.clone(), place: (frame.body.0, spot.1), scope, rounds: None };
        self.computing.insert(spot);
        let order =
            Order::Compute { address: self.address(spot), timeout: self.frame(spot.0).timeout(spot.1), work };
        self.turn.orders.push(order);
        Ok(())
    }

    /// Takes in what a pure loop came to. One that was stopped is asked for again when the run goes on.
    pub(in super::super) fn computed(
        &mut self,
        now: Millis,
        address: &Address,
        result: Result<Value, Failure>,
    ) -> Result<(), Mismatch> {
        let Some(spot) = self.locate(address).filter(|spot| self.computing.remove(spot)) else {
            return Ok(());
        };
        match result {
            Ok(output) => self.succeed(now, spot, output),
            Err(failure) if failure.class == Class::Cancelled => Ok(()),
            Err(failure) => self.fail(now, spot, failure),
        }
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
