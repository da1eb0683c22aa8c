//! Plans built without the language.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::diag::{SourceMap, Span};
use crate::expr::{Expr, Functions, Shape, Template, Tree};
use crate::id::StepId;
use crate::plan::{
    Accepts, Action, AnswerType, Ask, Body, BodyId, Compute, Dep, Each, Hold, Loop, LoopExit, OnError,
    OnInterrupt, Origin, Plan, Retry, Rule, Seen, Step, StepLets,
};
use crate::value::{Digest, Value};
use crate::verb::{Class, Traits};

pub fn expr(text: &str) -> Expr {
    Expr::parse(text, &Functions::empty()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

pub fn template(text: &str) -> Tree {
    Tree::Template(
        Template::parse(text, &Functions::empty(), &|_| None).unwrap_or_else(|f| panic!("{text}: {f:?}")),
    )
}

pub fn span() -> Span {
    let mut sources = SourceMap::new();
    let id = sources.add("test", "");
    sources.span(id, 0..0)
}

/// A step that does nothing yet.
pub fn step(id: &str, action: Action) -> Step {
    Step {
        id: StepId::new(id),
        when: None,
        deps: Vec::new(),
        sees: Arc::new([]),
        retry: Retry {
            max: 2,
            from: Duration::from_secs(1),
            to: Duration::from_secs(4),
            on: vec![Class::Transient, Class::Rejected],
            when: None,
            until: None,
        },
        timeout: None,
        lane: None,
        budget: Vec::new(),
        output: None,
        check: Vec::new(),
        cache: false,
        files: None,
        on_interrupt: OnInterrupt::Retry,
        outage_pauses: true,
        fails_none: false,
        tells_spent: false,
        on_pause: false,
        always: false,
        forbid: Vec::new(),
        action,
        span: span(),
        origin: Origin::default(),
        lets: StepLets::default(),
    }
}

pub fn verb(id: &str, with: Tree) -> Step {
    step(id, Action::Verb { name: "toy".to_owned(), with, traits: Traits::repeatable("toy"), again: None })
}

/// `step` waits for the steps at `places`, and reads them.
pub fn after(mut step: Step, places: &[usize]) -> Step {
    for place in places {
        step.deps.push(Dep { step: *place, accepts: Accepts::OUTPUT, items: false });
    }
    step.sees = places.iter().map(|place| Seen { up: 0, step: *place }).collect();
    step
}

pub fn tolerating(mut step: Step, places: &[usize]) -> Step {
    for dep in &mut step.deps {
        if places.contains(&dep.step) {
            dep.accepts = Accepts::all();
        }
    }
    step
}

/// A step that asks for free text.
pub fn ask(id: &str) -> Step {
    let Tree::Template(question) = template("sure?") else { panic!("a template") };
    let ask = Ask {
        question,
        choices: None,
        answer: AnswerType::Text,
        show: None,
        binds: None,
        default: None,
        deadline: None,
        at_deadline: None,
    };
    step(id, Action::Ask(ask))
}

pub fn each(id: &str, over: &str, body: usize) -> Step {
    let each = Each {
        over: expr(over),
        item: format!("item_{body}"),
        key: None,
        parallel: Some(expr("3")),
        on_error: OnError::Keep,
        max_failures: None,
        result: None,
        sees: Arc::new([]),
        body: BodyId(body),
    };
    step(id, Action::Each(each))
}

pub fn hold(id: &str, body: usize) -> Step {
    let hold = Hold {
        resource: "thing".to_owned(),
        with: Tree::Literal(Value::Null),
        traits: Traits::repeatable("thing"),
        result: None,
        sees: Arc::new([]),
        body: BodyId(body),
    };
    step(id, Action::Hold(hold))
}

/// A loop that adds up `gain` and ends at 4 or after three rounds.
pub fn pure(id: &str) -> Step {
    let compute = Compute {
        seed: Some(expr("3")),
        init: vec![("x".to_owned(), expr("seed")), ("all".to_owned(), expr("[]"))],
        next: vec![("x".to_owned(), expr("state.x + n")), ("all".to_owned(), expr("state.all + [state.x]"))],
        lets: Arc::default(),
        until: Some(expr("state.x > 20")),
        max: expr("50"),
    };
    step(id, Action::Compute(compute))
}

pub fn rounds(id: &str, gain: &str, sees: &[usize], body: usize) -> Step {
    let looping = Loop {
        max: Some(expr("3")),
        over: None,
        item: "item".to_owned(),
        state: vec![
            ("sum".to_owned(), expr("0")),
            ("calm".to_owned(), expr("0")),
            ("seen".to_owned(), expr("range(15) | list")),
        ],
        lets: vec![("gain".to_owned(), expr(gain)), ("more".to_owned(), expr("let.gain > 0"))],
        next: vec![
            ("sum".to_owned(), expr("state.sum + let.gain")),
            ("calm".to_owned(), expr("0 if let.more else state.calm + 1")),
            ("seen".to_owned(), expr("state.seen + [let.gain, state.sum]")),
        ],
        rules: vec![Rule {
            name: "nudge".to_owned(),
            when: expr("state.calm == 2"),
            set: vec![("sum".to_owned(), expr("state.sum + 1"))],
        }],
        exits: vec![LoopExit { status: "enough".to_owned(), when: expr("state.sum >= 4"), code: None }],
        result: Some(expr(
            "{'sum': state.sum, 'seen': state.seen, 'was': loop.history | map(attribute='state') | list}",
        )),
        so_far: None,
        counts: Class::ALL.to_vec(),
        budget: Vec::new(),
        fund: Vec::new(),
        funds_see: Arc::new([]),
        sees: sees.iter().map(|place| Seen { up: 0, step: *place }).collect(),
        body: BodyId(body),
    };
    step(id, Action::Loop(looping))
}

pub fn body(steps: Vec<Step>) -> Body {
    let order = (0..steps.len()).collect();
    Body::new(steps, order)
}

pub fn plan(bodies: Vec<Body>, outputs: &[(&str, &str)]) -> Arc<Plan> {
    let sees = (0..bodies[0].steps.len()).map(|step| Seen { up: 0, step }).collect();
    Arc::new(Plan {
        name: "test".to_owned(),
        summary: String::new(),
        inputs: IndexMap::new(),
        outputs: outputs.iter().map(|(name, text)| ((*name).to_owned(), expr(text))).collect(),
        shapes: outputs.iter().map(|_| Shape::Any).collect(),
        refusals: Vec::new(),
        bodies,
        exits: Vec::new(),
        sees,
        limits: Vec::new(),
        lanes: IndexMap::from([("toy".to_owned(), 3)]),
        settings: Vec::new(),
        digest: Digest::of("test"),
    })
}
