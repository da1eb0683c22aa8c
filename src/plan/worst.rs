//! The most that a plan can spend, before anything is spent: what its steps may cost at worst, times how often they can
//! run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::start::AtStart;
use super::types::{Action, BodyId, Call, InputKind, Limit, Plan, Step};
use crate::expr::{Allowance, Data, Expr, Lets, Ref, Scope, Step as PathStep, Template, Tree};
use crate::meter::{Meter, Unit};
use crate::schema::Schema;
use crate::value::{Value, canonical};

/// Tells the most that one attempt may cost, from its verb, its input as far as it is known, and its schema.
pub type Most<'a> = &'a dyn Fn(&str, &Value, Option<&Schema>) -> Option<Meter>;

/// A step that may spend something.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Its place, e.g. `converge/judge/verdict`.
    pub step: String,
    /// How often an attempt at it can begin, as far as that is known: rounds × items × attempts.
    pub times: f64,
    /// Lists whose length nobody knows yet, by the step that goes through them: it runs so often for each of their items.
    pub per: Vec<String>,
    /// The most that one attempt costs; `None` where that cannot be told.
    pub once: Option<Meter>,
}

impl Worst {
    /// The most that all of it costs, for one item of each list of unknown length.
    pub fn all(&self) -> Option<Meter> {
        self.once.as_ref().map(|once| once.times(self.times))
    }
}

/// The steps of `plan` that may spend something, in an order in which they can run. `inputs` are the checked inputs, as
/// far as they are known.
pub fn worst(plan: &Plan, inputs: &Value, most: Most<'_>) -> Vec<Worst> {
    let allowance = Arc::new(Allowance::new(WORK));
    let mut walk = Walk { most, found: Vec::new(), called: HashMap::new(), allowance };
    let scope = walk.scope(inputs.clone());
    walk.body(&Place::of(plan, inputs, scope), BodyId::ROOT);
    walk.found
}

/// The caps of `plan` that are in force for the known `inputs`: each with its unit, the value where it is known
/// (null for no cap), and its text.
pub fn caps(plan: &Plan, inputs: &Value) -> Vec<(Unit, Option<Value>, String)> {
    let scope = Scope::new().briefly().with("inputs", Data::from_arc(Arc::new(inputs.clone())));
    let cap = |limit: &Limit| (limit.unit, known(&limit.cap, &scope), limit.cap.text().to_owned());
    plan.limits.iter().map(cap).collect()
}

/// A cap in force inside a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct InnerCap {
    /// The step that may spend no more, or whose rounds or called pipeline may.
    pub step: String,
    /// What the cap applies to: `step`, `round` or `call`.
    pub applies_to: &'static str,
    /// The unit.
    pub unit: Unit,
    /// The value, if it is known; null for no cap.
    pub cap: Option<Value>,
    /// Its text.
    pub text: String,
}

/// Most caps that are listed.
const CAPS: usize = 1_000;

/// The caps inside `plan` for the known `inputs`: budgets of steps and of rounds, and the caps of called pipelines. At most 1,000.
pub fn inner_caps(plan: &Plan, inputs: &Value) -> Vec<InnerCap> {
    let mut walk = CapWalk { called: HashMap::new(), allowance: Arc::new(Allowance::new(WORK)) };
    let scope = walk.scope(inputs.clone());
    let mut found = Vec::new();
    walk.body(plan, BodyId::ROOT, &scope, "", &mut found);
    found
}

struct CapWalk {
    /// What was found in a called pipeline, by its plan and its inputs: each is looked at once.
    called: HashMap<(*const Plan, String), Rc<[InnerCap]>>,
    allowance: Arc<Allowance>,
}

impl CapWalk {
    fn scope(&self, inputs: Value) -> Scope {
        let inputs = Data::from_arc(Arc::new(inputs));
        Scope::new().within(Arc::clone(&self.allowance)).with("inputs", inputs)
    }

    fn body(&mut self, plan: &Plan, body: BodyId, scope: &Scope, prefix: &str, found: &mut Vec<InnerCap>) {
        let body = &plan.bodies[body.0];
        for step in body.order.iter().map(|at| &body.steps[*at]) {
            let name = format!("{prefix}{}", step.id);
            let inside = format!("{name}/");
            let scope = &with_lets(step, scope);
            found.extend(listed(&name, "step", &step.budget, scope));
            match &step.action {
                Action::Loop(looping) => {
                    found.extend(listed(&name, "round", &looping.budget, scope));
                    self.body(plan, looping.body, scope, &inside, found);
                }
                Action::Each(each) => self.body(plan, each.body, scope, &inside, found),
                Action::Hold(hold) => self.body(plan, hold.body, scope, &inside, found),
                Action::Call(call) => {
                    let inputs = passed(call, scope);
                    found.extend(listed(&name, "call", &call.plan.limits, &self.scope(inputs.clone())));
                    let inner = self.called(&call.plan, inputs);
                    let inner = inner.iter().take(CAPS.saturating_sub(found.len()));
                    found.extend(
                        inner.map(|cap| InnerCap { step: format!("{inside}{}", cap.step), ..cap.clone() }),
                    );
                }
                Action::Verb { .. } | Action::Compute(_) | Action::Ask(_) => {}
            }
            found.truncate(CAPS);
        }
    }

    fn called(&mut self, plan: &Arc<Plan>, inputs: Value) -> Rc<[InnerCap]> {
        let key = (Arc::as_ptr(plan), canonical(&inputs));
        if let Some(found) = self.called.get(&key) {
            return found.clone();
        }
        let scope = self.scope(inputs);
        let mut found = Vec::new();
        self.body(plan, BodyId::ROOT, &scope, "", &mut found);
        let found: Rc<[InnerCap]> = found.into();
        self.called.insert(key, found.clone());
        found
    }
}

/// The caps of `limits` for the step called `name`.
fn listed<'a>(
    name: &'a str,
    applies_to: &'static str,
    limits: &'a [Limit],
    scope: &'a Scope,
) -> impl Iterator<Item = InnerCap> + 'a {
    limits.iter().map(move |limit| InnerCap {
        step: name.to_owned(),
        applies_to,
        unit: limit.unit,
        cap: known(&limit.cap, scope),
        text: limit.cap.text().to_owned(),
    })
}

/// The inputs of a called pipeline as far as they are known.
fn passed(call: &Call, scope: &Scope) -> Value {
    let declared = call.plan.inputs.iter();
    let mut inputs: BTreeMap<String, Value> =
        declared.map(|(name, input)| (name.clone(), input.default.clone())).collect();
    for (name, expr) in &call.with {
        match known(expr, scope) {
            Some(value) => drop(inputs.insert(name.clone(), value)),
            None => drop(inputs.remove(name)),
        }
    }
    Value::Object(inputs.into_iter().collect())
}

/// What is known where a body stands.
#[derive(Clone)]
struct Place<'a> {
    plan: &'a Plan,
    at_start: Rc<AtStart>,
    scope: Scope,
    /// `let` of the step and of those around it.
    lets: Vec<Arc<Lets>>,
    prefix: String,
    times: f64,
    per: Vec<String>,
}

impl<'a> Place<'a> {
    fn of(plan: &'a Plan, inputs: &Value, scope: Scope) -> Self {
        let at_start = Rc::new(plan.at_start_so_far(inputs));
        Self { plan, at_start, scope, lets: Vec::new(), prefix: String::new(), times: 1.0, per: Vec::new() }
    }

    /// The same for `step`.
    fn with_lets(&self, step: &Step) -> Self {
        let lets = self.lets.iter().cloned().chain([step.lets.entries.clone()]).collect();
        Self { scope: with_lets(step, &self.scope), lets, ..self.clone() }
    }

    /// How often the step can be tried; `None` if that is not known yet.
    fn attempts(&self, (body, at): (BodyId, usize), step: &Step) -> Option<f64> {
        let is_setting = self.plan.settings.iter().any(|setting| setting.is_retries_of(body, at));
        let retries = self.at_start.retries(body, at);
        if is_setting && retries.is_none() {
            return None;
        }
        Some(f64::from(retries.unwrap_or(step.retry.max)) + 1.0)
    }
}

struct Walk<'a> {
    most: Most<'a>,
    found: Vec<Worst>,
    /// What was found in a called pipeline, by its plan and its inputs: each is looked at once.
    called: HashMap<(*const Plan, String), Rc<[Worst]>>,
    allowance: Arc<Allowance>,
}

/// Most steps that are listed.
const STEPS: usize = 10_000;
/// How much work all expressions together may take; the value of others is unknown.
const WORK: u64 = 5_000_000;

impl Walk<'_> {
    fn body(&mut self, place: &Place<'_>, id: BodyId) {
        let body = &place.plan.bodies[id.0];
        for (at, step) in body.order.iter().map(|at| (*at, &body.steps[*at])) {
            let inner = (!step.lets.entries.is_empty()).then(|| place.with_lets(step));
            let place = inner.as_ref().unwrap_or(place);
            let never = step.when.as_ref().and_then(|when| known(when, &place.scope));
            if never.is_none_or(|when| when != Value::Bool(false)) {
                self.step(place, (id, at), step);
            }
        }
    }

    fn step(&mut self, place: &Place<'_>, at: (BodyId, usize), step: &Step) {
        let name = format!("{}{}", place.prefix, step.id);
        let inside = Place { prefix: format!("{name}/"), ..place.clone() };
        match &step.action {
            Action::Verb { name: verb, with, traits, .. } if !traits.pure => {
                let schema = step.output.as_deref();
                let costs = inputs_of(with, place).into_iter().map(|with| (self.most)(verb, &with, schema));
                let once = costs.reduce(|a, b| Some(a?.either(&b?))).flatten();
                if once.as_ref().is_none_or(|once| !once.is_empty()) {
                    let attempts = place.attempts(at, step);
                    let once = once.filter(|_| attempts.is_some());
                    let times = place.times * attempts.unwrap_or(1.0);
                    self.note(Worst { step: name, times, per: place.per.clone(), once });
                }
            }
            Action::Loop(looping) => {
                let max = looping.max.as_ref().and_then(|max| known(max, &place.scope)?.as_f64());
                let over = looping.over.as_ref().and_then(|over| length(over, &place.scope));
                let times = match (max, over) {
                    (Some(max), Some(over)) => Some(max.min(over)),
                    (max, over) => max.or(over),
                };
                self.body(&times_of(inside, times, &name), looping.body);
            }
            Action::Each(each) => {
                let times = length(&each.over, &place.scope);
                self.body(&times_of(inside, times, &name), each.body);
            }
            Action::Hold(hold) => self.body(&inside, hold.body),
            Action::Call(call) => {
                let inputs = passed(call, &place.scope);
                let is_retried = step.retry.until.is_some() || !step.retry.on.is_empty();
                let attempts = if is_retried { place.attempts(at, step) } else { Some(1.0) };
                for worst in self.called(&call.plan, &inputs).iter() {
                    let per = worst.per.iter().map(|per| format!("{}{per}", inside.prefix));
                    self.note(Worst {
                        step: format!("{}{}", inside.prefix, worst.step),
                        times: inside.times * attempts.unwrap_or(1.0) * worst.times,
                        per: inside.per.iter().cloned().chain(per).collect(),
                        once: worst.once.clone().filter(|_| attempts.is_some()),
                    });
                }
            }
            Action::Verb { .. } | Action::Compute(_) | Action::Ask(_) => {}
        }
    }
}

impl Walk<'_> {
    /// What can be spent in the pipeline `plan` with these inputs, of which some may be unknown.
    fn called(&mut self, plan: &Arc<Plan>, inputs: &Value) -> Rc<[Worst]> {
        let key = (Arc::as_ptr(plan), canonical(inputs));
        if let Some(found) = self.called.get(&key) {
            return found.clone();
        }
        let scope = self.scope(inputs.clone());
        let outer = std::mem::take(&mut self.found);
        self.body(&Place::of(plan, inputs, scope), BodyId::ROOT);
        let found: Rc<[Worst]> = std::mem::replace(&mut self.found, outer).into();
        self.called.insert(key, found.clone());
        found
    }

    /// Notes a step; of too many, the last says that the rest is unknown.
    fn note(&mut self, worst: Worst) {
        if self.found.len() < STEPS {
            self.found.push(worst);
        } else if self.found.len() == STEPS {
            self.found.push(Worst { step: "…".to_owned(), times: 1.0, per: Vec::new(), once: None });
        }
    }

    /// A scope with these inputs. All of them take their work from the same allowance.
    fn scope(&self, inputs: Value) -> Scope {
        let inputs = Data::from_arc(Arc::new(inputs));
        Scope::new().within(Arc::clone(&self.allowance)).with("inputs", inputs)
    }
}

fn length(over: &Expr, scope: &Scope) -> Option<f64> {
    if !over.refs().iter().all(|r| is_known(r, scope)) {
        return None;
    }
    let length = over.eval(scope).ok().filter(Data::is_list)?.len_hint()?;
    u32::try_from(length).ok().map(f64::from)
}

fn times_of<'a>(inside: Place<'a>, times: Option<f64>, owner: &str) -> Place<'a> {
    if let Some(times) = times {
        return Place { times: inside.times * times, ..inside };
    }
    let per = inside.per.iter().cloned().chain([owner.to_owned()]).collect();
    Place { per, ..inside }
}

/// `scope` with those entries of the step's `let` that are known.
fn with_lets(step: &Step, scope: &Scope) -> Scope {
    let mut sound: HashSet<&str> = HashSet::new();
    for (name, expr) in step.lets.entries.iter() {
        let is_sound = |r: &Ref| is_known(r, scope) || let_name(r).is_some_and(|name| sound.contains(name));
        if expr.refs().iter().all(is_sound) {
            sound.insert(name);
        }
    }
    if sound.is_empty() {
        return scope.clone();
    }
    let bound = step.lets.entries.bind(scope);
    scope.with_let(Data::table(sound.into_iter().filter_map(|name| Some((name, bound.get(name)?)))))
}

/// The entry of `let` that a reference reads.
fn let_name(reference: &Ref) -> Option<&str> {
    match reference.path.get(1) {
        Some(PathStep::Key(name)) if root(reference) == Some("let") => Some(name),
        _ => None,
    }
}

/// Whether a reference reads an input, or an entry of `let` whose value is known.
fn is_known(reference: &Ref, scope: &Scope) -> bool {
    is_input(reference)
        || let_name(reference)
            .is_some_and(|name| scope.get("let").is_some_and(|lets| lets.get(name).is_some()))
}

/// What an expression comes to, where it reads nothing but inputs.
fn known(expr: &Expr, scope: &Scope) -> Option<Value> {
    if !expr.refs().iter().all(|r| is_known(r, scope)) {
        return None;
    }
    expr.eval(scope).ok().map(|data| data.to_value())
}

fn is_input(reference: &Ref) -> bool {
    root(reference) == Some("inputs")
}

fn root(reference: &Ref) -> Option<&str> {
    match reference.path.first() {
        Some(PathStep::Key(key)) => Some(key),
        _ => None,
    }
}

/// The input of a verb as far as it is known. Where a text hangs on more than the inputs and names models among them,
/// there is one for each.
fn inputs_of(with: &Tree, place: &Place<'_>) -> Vec<Value> {
    let (Value::Object(table), Tree::Table(entries)) = (partly(with, &place.scope), with) else {
        return vec![Value::Null];
    };
    let open = entries.iter().find_map(|(key, tree)| match tree {
        Tree::Template(template) if !table.contains_key(key) => {
            let models = models_in(template, place);
            (!models.is_empty()).then_some((key, models))
        }
        _ => None,
    });
    let Some((key, models)) = open else { return vec![Value::Object(table)] };
    models
        .into_iter()
        .map(|model| {
            let mut table = table.clone();
            table.insert(key.clone(), model);
            Value::Object(table)
        })
        .collect()
}

/// The models that a template may name: those of its inputs.
fn models_in(template: &Template, place: &Place<'_>) -> Vec<Value> {
    let inputs = place.scope.get("inputs").map(Data::to_value).unwrap_or_default();
    let mut models = Vec::new();
    let through_lets = place.lets.iter().flat_map(|lets| lets.iter()).flat_map(|(_, expr)| expr.refs());
    let through_lets = through_lets.filter(|_| template.refs().iter().any(|r| let_name(r).is_some()));
    for reference in template.refs().iter().chain(through_lets).filter(|reference| is_input(reference)) {
        let Some(PathStep::Key(name)) = reference.path.get(1) else { continue };
        let is_model = place.plan.inputs.get(&**name).is_some_and(|input| input.kind == InputKind::Model);
        let value = &inputs[&**name];
        if is_model && value.as_str().is_some_and(|name| !name.is_empty()) && !models.contains(value) {
            models.push(value.clone());
        }
    }
    models
}

/// What can be rendered with the inputs alone; the rest is missing, inside lists `null`.
fn partly(tree: &Tree, scope: &Scope) -> Value {
    match tree {
        Tree::Literal(value) => value.clone(),
        Tree::Template(template) if template.refs().iter().all(|r| is_known(r, scope)) => {
            template.render(scope).map(|data| data.to_value()).unwrap_or_default()
        }
        Tree::Template(_) => Value::Null,
        Tree::List(items) => Value::Array(items.iter().map(|item| partly(item, scope)).collect()),
        Tree::Table(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, tree)| (key.clone(), partly(tree, scope), tree))
                .filter(|(_, value, tree)| !value.is_null() || matches!(tree, Tree::Literal(_)))
                .map(|(key, value, _)| (key, value))
                .collect(),
        ),
    }
}
