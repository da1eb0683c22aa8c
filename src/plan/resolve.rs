use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::asking;
use super::compile::{Wanted, sees};
use super::load::Loader;
use super::loop_codes;
use super::scope::{Around, Level, Sight, Site, StepShape};
use super::shape;
use super::start::Setting;
use super::step_lets::LetNames;
use super::types::{Body, BodyId, Exit, Input, Origin, Plan, Refusal};
use super::{order, types};
use crate::diag::{Code, Diagnostic, Severity, Span};
use crate::expr::{Choices, Functions, Shape};
use crate::id::StepId;
use crate::model::{self, Name, Pipeline};
use crate::schema::Schema;
use crate::value::{Digest, Value};

/// Turns what an author wrote into a plan, one pipeline at a time.
pub(super) struct Resolver<'l, 'a> {
    pub(super) loader: &'l mut Loader<'a>,
    pub(super) functions: Arc<Functions>,
    /// Functions that nothing has called so far.
    pub(super) uncalled: IndexMap<String, Span>,
    /// By place: what is known of the value that an expression or template makes.
    pub(super) made: HashMap<Span, Shape>,
    /// What schemas of verbs say, read once.
    shapes: HashMap<String, Shape>,
    pub(super) inputs: IndexMap<String, Input>,
    /// By name of an input: the words that it is one of.
    pub(super) enums: HashMap<String, Arc<Choices>>,
    pub(super) used: HashSet<String>,
    /// `let` of the steps around what is being resolved, the outermost first.
    pub(super) lets: Vec<LetNames>,
    /// The name of the step that is being resolved, if it is cached.
    pub(super) cached: Option<Span>,
    /// Entries of `let` that nothing reads.
    pub(super) unread_lets: Vec<(String, Span)>,
    pub(super) labels: Vec<String>,
    /// Time limits of steps, and where they are written.
    pub(super) timeouts: Vec<(std::time::Duration, Span)>,
    /// Globs of files that cached steps produce, with the names of the steps.
    pub(super) produced: Vec<(String, model::Text)>,
    /// Lanes that the pipeline declares.
    pub(super) lanes: IndexSet<String>,
    /// The bodies around what is being resolved, the pipeline's own first.
    pub(super) levels: Vec<Level>,
    /// By the name of an inner step: the owners of the bodies it stands in, and where.
    pub(super) owners: HashMap<String, Vec<(String, Span)>>,
    /// Schemas of verbs and files, compiled or generated once.
    pub(super) generated: HashMap<String, Arc<Value>>,
    pub(super) schemas: HashMap<String, Option<Arc<Schema>>>,
    /// What is evaluated once, when a run starts.
    pub(super) settings: Vec<Setting>,
    /// Whether the lane of some step is known only when a run starts.
    pub(super) lane_varies: bool,
    bodies: Vec<Option<Body>>,
    /// Whether the name of a secret may be read where something is compiled right now.
    pub(super) names_secret: bool,
    /// By the place of a step's name: what it has from elsewhere than its own table.
    pub(super) origins: HashMap<Span, Origin>,
}

pub(super) fn resolve(
    loader: &mut Loader<'_>,
    pipeline: Pipeline,
    name: &str,
    top: Span,
    (digest, origins): (Digest, HashMap<Span, Origin>),
) -> Option<Plan> {
    let mut resolver = Resolver {
        loader,
        functions: Functions::empty(),
        uncalled: IndexMap::new(),
        made: HashMap::new(),
        shapes: HashMap::new(),
        inputs: IndexMap::new(),
        enums: HashMap::new(),
        used: HashSet::new(),
        lets: Vec::new(),
        cached: None,
        unread_lets: Vec::new(),
        labels: pipeline.labels.iter().map(|label| label.text.clone()).collect(),
        lanes: pipeline.lanes.iter().map(|(name, _)| name.text.clone()).collect(),
        timeouts: Vec::new(),
        produced: Vec::new(),
        levels: Vec::new(),
        owners: HashMap::new(),
        generated: HashMap::new(),
        schemas: HashMap::new(),
        settings: Vec::new(),
        lane_varies: false,
        bodies: Vec::new(),
        names_secret: false,
        origins,
    };
    resolver.plan(pipeline, name, top, digest)
}

impl Resolver<'_, '_> {
    fn plan(&mut self, pipeline: Pipeline, name: &str, top: Span, digest: Digest) -> Option<Plan> {
        self.declare(&pipeline);
        if pipeline.steps.is_empty() {
            self.loader.found.push(
                Diagnostic::new(Code::NoSteps, "the pipeline has no steps")
                    .at(top, "")
                    .help("add one: `[steps.hello]` with `set = { greeting = \"hello\" }`"),
            );
        }
        let refusals = self.refusals(&pipeline.refusals);
        note_owners(&pipeline.steps, None, &mut self.owners);
        let statuses = loop_codes::statuses(&pipeline);
        let lanes = self.widths(&pipeline.lanes);
        let names: Vec<String> = pipeline.outputs.iter().map(|(name, _)| name.text.clone()).collect();
        let mut sight = Sight::new();
        let (_, closed, _) = self.body(pipeline.steps, Around::Root, |this| {
            let outputs = this.named(&pipeline.outputs, &Site::default(), &mut sight);
            let exits = this.exits(&pipeline.exits, &names, &mut sight);
            let of_loops = this.loop_exits(&pipeline.exits, &statuses, &mut sight);
            let limits = this.caps(&pipeline.limits, true, &Site::default(), &mut sight);
            if let Some(limits) = &limits {
                this.whole_time(limits);
            }
            Some((outputs?, exits?.into_iter().chain(of_loops).collect(), limits?))
        });
        self.warn_unused();
        let (outputs, exits, limits) = closed?;
        let bodies = std::mem::take(&mut self.bodies).into_iter().collect::<Option<Vec<_>>>()?;
        self.unused_lanes(&pipeline.lanes, &bodies);
        Some(Plan {
            name: pipeline.name.map_or_else(|| name.to_owned(), |name| name.text),
            summary: pipeline.summary.map(|summary| summary.text).unwrap_or_default(),
            inputs: std::mem::take(&mut self.inputs),
            refusals: refusals?,
            bodies,
            shapes: pipeline.outputs.iter().map(|(_, text)| self.made(text)).collect(),
            outputs,
            exits,
            sees: sees(&sight),
            limits,
            lanes,
            settings: std::mem::take(&mut self.settings),
            digest,
        })
    }

    fn refusals(&mut self, refusals: &[model::Refusal]) -> Option<Vec<Refusal>> {
        let (site, mut sight) = (Site { before: true, ..Site::default() }, Sight::new());
        let read: Vec<_> = refusals
            .iter()
            .map(|refusal| {
                let when = self.expr(&refusal.when, Wanted::Condition, &site, &mut sight);
                let message = self.template(&refusal.message, &site, &mut sight);
                Some(Refusal { when: when?, message: message? })
            })
            .collect();
        read.into_iter().collect()
    }

    fn exits(&mut self, exits: &[model::Exit], outputs: &[String], sight: &mut Sight) -> Option<Vec<Exit>> {
        let site = Site { outputs: Some(outputs), ..Site::default() };
        let read: Vec<_> = exits
            .iter()
            .map(|exit| {
                let when = self.expr(&exit.when, Wanted::Condition, &site, sight)?;
                Some(Exit { status: exit.status.text.clone(), when, code: exit.code })
            })
            .collect();
        read.into_iter().collect()
    }

    /// Resolves the steps of one body, then, with all of them in sight, what `closing` does. Last comes what is known of the
    /// value that the body leaves behind where nothing else says it.
    pub(super) fn body<T>(
        &mut self,
        steps: Vec<model::Step>,
        around: Around,
        closing: impl FnOnce(&mut Self) -> T,
    ) -> (BodyId, T, Shape) {
        let id = BodyId(self.bodies.len());
        self.bodies.push(None);
        self.open(id, &steps, around);
        let depth = self.levels.len() - 1;
        let names: Vec<Name> = steps.iter().map(|step| step.id.clone()).collect();
        let order = Self::by_mention(&steps);
        let mut steps: Vec<Option<model::Step>> = steps.into_iter().map(Some).collect();
        let mut resolved: Vec<Option<types::Step>> = steps.iter().map(|_| None).collect();
        for place in order {
            self.levels[depth].current = Some(place);
            resolved[place] = steps[place].take().and_then(|step| self.step(step));
        }
        self.levels[depth].current = None;
        let closed = closing(self);
        let mut left = Shape::Any;
        if let Some(mut level) = self.levels.pop() {
            level.wait_for_all();
            let order = order::order(&level.waits, &names, &mut self.loader.found);
            let steps: Option<Vec<types::Step>> = resolved.into_iter().collect();
            self.bodies[id.0] = order.zip(steps).map(|(order, mut steps)| {
                for (step, waits) in steps.iter_mut().zip(&level.waits) {
                    step.deps = waits.iter().map(|(place, wait)| wait.dep(*place)).collect();
                }
                for (step, tells) in steps.iter_mut().zip(&level.tells_spent) {
                    step.tells_spent = *tells;
                }
                let mut body = Body::new(steps, order);
                for (place, wait) in &level.closing {
                    body.accepts[*place] = wait.accepts();
                }
                body
            });
            if let Some(body) = &self.bodies[id.0] {
                let output = |place: &usize| match &body.steps[*place].when {
                    Some(_) => Shape::Any,
                    None => level.shapes[*place].output.clone(),
                };
                left = match body.sinks.as_slice() {
                    [only] => output(only),
                    sinks => Shape::table(sinks.iter().map(|at| (names[*at].text.as_str(), output(at)))),
                };
            }
        }
        (id, closed, left)
    }

    /// Brings the names of a body into sight.
    fn open(&mut self, id: BodyId, steps: &[model::Step], around: Around) {
        for step in steps {
            if let Some((depth, place)) = self.find(&step.id.text) {
                self.loader.found.push(
                    Diagnostic::new(
                        Code::ShadowedStep,
                        format!("`{}` is also the name of a step around it", step.id.text),
                    )
                    .at(step.id.span, "the inner one")
                    .at(self.levels[depth].spans[place], "the outer one")
                    .help("rename one of them"),
                );
            }
        }
        let shapes = steps.iter().map(|step| self.shape(step)).collect();
        self.levels.push(Level {
            id,
            names: steps.iter().enumerate().map(|(place, step)| (step.id.text.clone(), place)).collect(),
            spans: steps.iter().map(|step| step.id.span).collect(),
            shapes,
            always: steps.iter().map(|step| step.always.is_some()).collect(),
            tells_spent: vec![false; steps.len()],
            current: None,
            waits: vec![IndexMap::new(); steps.len()],
            closing: IndexMap::new(),
            around,
        });
    }

    /// What is known of a step's output before the step is resolved.
    fn shape(&mut self, step: &model::Step) -> StepShape {
        let named = |used: &&model::Use| used.name.text == "each";
        let each = step.uses.iter().find(named);
        let keeps =
            each.is_some_and(|used| asking::word(used, "on_error").is_some_and(|word| word == "keep"));
        if let Some(asked) = step.uses.iter().find(|used| used.name.text == "ask") {
            return asking::shape(asked);
        }
        let known = StepShape { items: each.map(|_| Shape::Any), keeps, ..StepShape::default() };
        let verb =
            step.uses.iter().find_map(|used| Some((used, self.loader.catalog.find_verb(&used.name.text)?)));
        if let Some(output) = &step.output {
            let beside = verb.map_or(&[] as &[&str], |(_, verb)| verb.extra_fields());
            let schema = self.schema(output);
            let output = schema.map_or(Shape::Any, |schema| shape::of_schema(schema.source(), beside));
            return StepShape { output, ..known };
        }
        if let Some((used, verb)) = verb {
            let verb = verb.clone();
            let name = format!("{} out", verb.name());
            let schema = self.generated(&name, || verb.out_schema());
            // A verb that hands on its input says so in its schema; its fields are then those that are written.
            if schema.get("x-same-as-input").is_some_and(|same| *same == Value::Bool(true)) {
                let table = used.with.table().into_iter().flatten();
                return StepShape::of(Shape::table(table.map(|(name, _)| (name, Shape::Any))));
            }
            if let Some(shape) = self.shapes.get(&name) {
                return StepShape::of(shape.clone());
            }
            let shape = shape::of_schema(&schema, &[]);
            self.shapes.insert(name, shape.clone());
            return StepShape::of(shape);
        }
        let call = step.uses.iter().find(|used| used.name.text == "call");
        let pipeline = call.and_then(|used| used.with.table()?.get("pipeline")?.node.text());
        let plan = pipeline.and_then(|pipeline| self.loader.callee(&pipeline.text, pipeline.span));
        let output = plan.map_or(Shape::Any, |plan| {
            let names = plan.outputs.iter().map(|(name, _)| name);
            Shape::table(names.zip(plan.shapes.iter().cloned()))
        });
        StepShape { output, ..known }
    }

    /// Notes what the step at hand gives, now that it is resolved. What a header says of its output goes first.
    pub(super) fn gives(&mut self, output: Shape, items: Option<Shape>) {
        let Some(level) = self.levels.last_mut() else { return };
        let Some(current) = level.current else { return };
        let step = &mut level.shapes[current];
        if step.output == Shape::Any || items.is_none() {
            step.output = output;
        }
        step.items = items.or(step.items.take());
    }

    /// The places of `steps` ordered so that each comes after those that it names, if that is possible.
    fn by_mention(steps: &[model::Step]) -> Vec<usize> {
        let names: HashMap<&str, usize> =
            steps.iter().enumerate().map(|(place, step)| (step.id.text.as_str(), place)).collect();
        let mentions: Vec<Vec<usize>> = steps
            .iter()
            .map(|step| {
                let mut found = Vec::new();
                step.each_text(&mut |text| {
                    for rest in text.split("steps.").skip(1) {
                        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                        found.extend(names.get(&rest[..end]));
                    }
                });
                found
            })
            .collect();
        mentioned_first(&mentions)
    }

    pub(super) fn generated(&mut self, key: &str, make: impl FnOnce() -> Value) -> Arc<Value> {
        if let Some(schema) = self.generated.get(key) {
            return schema.clone();
        }
        let schema = Arc::new(make());
        self.generated.insert(key.to_owned(), schema.clone());
        schema
    }

    /// Only where all else is sound: what an unknown verb reads is not known.
    fn warn_unused(&mut self) {
        if self.loader.found.iter().any(|found| found.severity == Severity::Error) {
            return;
        }
        for (name, input) in &self.inputs {
            if !self.used.contains(name) {
                self.loader.found.push(
                    Diagnostic::new(Code::UnusedInput, format!("nothing reads the input `{name}`"))
                        .at(input.span, "")
                        .help(format!("read it as `inputs.{name}`, or remove it")),
                );
            }
        }
        for (name, span) in &self.unread_lets {
            self.loader.found.push(
                Diagnostic::new(Code::UnusedLet, format!("nothing reads `let.{name}`"))
                    .at(*span, "")
                    .help(format!("read it as `let.{name}`, or remove it")),
            );
        }
        for (name, span) in &self.uncalled {
            self.loader.found.push(
                Diagnostic::new(Code::UnusedFunction, format!("nothing calls the function `{name}`"))
                    .at(*span, "")
                    .help("call it, or remove it"),
            );
        }
    }

    /// A name that must be valid wherever an id is made from it.
    pub(super) fn id(name: &Name) -> StepId {
        StepId::new(&name.text)
    }
}

/// Places in an order in which each comes after those that it mentions, if there is one.
pub(super) fn mentioned_first(mentions: &[Vec<usize>]) -> Vec<usize> {
    let (mut order, mut seen) = (Vec::with_capacity(mentions.len()), vec![false; mentions.len()]);
    for start in 0..mentions.len() {
        let mut open = vec![(start, 0)];
        while let Some((place, next)) = open.pop() {
            if next == 0 && seen[place] {
                continue;
            }
            seen[place] = true;
            match mentions[place].get(next) {
                Some(other) => {
                    open.push((place, next + 1));
                    if !seen[*other] {
                        open.push((*other, 0));
                    }
                }
                None => order.push(place),
            }
        }
    }
    order
}

fn note_owners(
    steps: &[model::Step],
    owner: Option<&str>,
    owners: &mut HashMap<String, Vec<(String, Span)>>,
) {
    for step in steps {
        if let Some(owner) = owner {
            owners.entry(step.id.text.clone()).or_default().push((owner.to_owned(), step.id.span));
        }
        if let Some((_, inner)) = &step.body {
            note_owners(inner, Some(&step.id.text), owners);
        }
    }
}
