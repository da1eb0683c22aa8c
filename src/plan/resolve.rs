use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;

use super::compile::{Wanted, sees};
use super::load::Loader;
use super::scope::{Around, Level, Sight, Site};
use super::shape::Shape;
use super::types::{Body, BodyId, Dep, Exit, Input, Plan, Refusal};
use super::{order, types};
use crate::diag::{Code, Diagnostic, Severity, Span};
use crate::expr::Functions;
use crate::id::StepId;
use crate::model::{self, Name, Pipeline};
use crate::schema::Schema;
use crate::value::{Digest, Value};

/// Turns what an author wrote into a plan, one pipeline at a time.
pub(super) struct Resolver<'l, 'a> {
    pub(super) loader: &'l mut Loader<'a>,
    pub(super) functions: Arc<Functions>,
    /// Functions that nothing has called so far.
    pub(super) uncalled: Vec<Name>,
    /// Functions that are declared, but of no use: complained about once.
    pub(super) broken: Vec<String>,
    pub(super) inputs: IndexMap<String, Input>,
    pub(super) used: HashSet<String>,
    pub(super) labels: Vec<String>,
    /// The bodies around what is being resolved, the pipeline's own first.
    pub(super) levels: Vec<Level>,
    /// By the name of an inner step: the owners of the bodies it stands in, and where.
    pub(super) owners: HashMap<String, Vec<(String, Span)>>,
    /// Schemas of verbs and files, compiled or generated once.
    pub(super) generated: HashMap<String, Arc<Value>>,
    pub(super) schemas: HashMap<String, Option<Arc<Schema>>>,
    bodies: Vec<Option<Body>>,
    /// Whether the name of a secret may be read where something is compiled right now.
    pub(super) names_secret: bool,
}

pub(super) fn resolve(
    loader: &mut Loader<'_>,
    pipeline: Pipeline,
    name: &str,
    top: Span,
    digest: Digest,
) -> Option<Plan> {
    let mut resolver = Resolver {
        loader,
        functions: Functions::empty(),
        uncalled: Vec::new(),
        broken: Vec::new(),
        inputs: IndexMap::new(),
        used: HashSet::new(),
        labels: pipeline.labels.iter().map(|label| label.text.clone()).collect(),
        levels: Vec::new(),
        owners: HashMap::new(),
        generated: HashMap::new(),
        schemas: HashMap::new(),
        bodies: Vec::new(),
        names_secret: false,
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
        let names: Vec<String> = pipeline.outputs.iter().map(|(name, _)| name.text.clone()).collect();
        let mut sight = Sight::new();
        let (_, closed) = self.body(pipeline.steps, Around::Root, |this| {
            let outputs = this.named(&pipeline.outputs, &Site::default(), &mut sight);
            let exits = this.exits(&pipeline.exits, &names, &mut sight);
            let limits = this.caps(&pipeline.limits, true, &Site::default(), &mut sight);
            Some((outputs?, exits?, limits?))
        });
        self.warn_unused();
        let (outputs, exits, limits) = closed?;
        let bodies = std::mem::take(&mut self.bodies).into_iter().collect::<Option<Vec<_>>>()?;
        Some(Plan {
            name: pipeline.name.map_or_else(|| name.to_owned(), |name| name.text),
            summary: pipeline.summary.map(|summary| summary.text).unwrap_or_default(),
            inputs: std::mem::take(&mut self.inputs),
            refusals: refusals?,
            bodies,
            outputs,
            exits,
            sees: sees(&sight),
            limits,
            lanes: pipeline.lanes.into_iter().map(|(name, width)| (name.text, width)).collect(),
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

    /// Resolves the steps of one body, then, with all of them in sight, what `closing` does.
    pub(super) fn body<T>(
        &mut self,
        steps: Vec<model::Step>,
        around: Around,
        closing: impl FnOnce(&mut Self) -> T,
    ) -> (BodyId, T) {
        let id = BodyId(self.bodies.len());
        self.bodies.push(None);
        self.open(&steps, around);
        let depth = self.levels.len() - 1;
        let mut resolved = Vec::with_capacity(steps.len());
        let names: Vec<Name> = steps.iter().map(|step| step.id.clone()).collect();
        for (place, step) in steps.into_iter().enumerate() {
            self.levels[depth].current = Some(place);
            resolved.push(self.step(step));
        }
        self.levels[depth].current = None;
        let closed = closing(self);
        if let Some(level) = self.levels.pop() {
            self.warn_never_false(&level);
            let order = order::order(&level.waits, &names, &mut self.loader.found);
            let steps: Option<Vec<types::Step>> = resolved.into_iter().collect();
            self.bodies[id.0] = order.zip(steps).map(|(order, mut steps)| {
                for (step, waits) in steps.iter_mut().zip(&level.waits) {
                    let deps =
                        waits.iter().map(|(place, wait)| Dep { step: *place, tolerated: wait.tolerated });
                    step.deps = deps.collect();
                }
                Body::new(steps, order)
            });
        }
        (id, closed)
    }

    /// Brings the names of a body into sight.
    fn open(&mut self, steps: &[model::Step], around: Around) {
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
            names: steps.iter().enumerate().map(|(place, step)| (step.id.text.clone(), place)).collect(),
            spans: steps.iter().map(|step| step.id.span).collect(),
            shapes,
            eaches: steps.iter().map(|step| step.uses.iter().any(|used| used.name.text == "each")).collect(),
            current: None,
            waits: vec![IndexMap::new(); steps.len()],
            around,
        });
    }

    /// What is known of a step's output.
    fn shape(&mut self, step: &model::Step) -> Shape {
        let verb =
            step.uses.iter().find_map(|used| Some((used, self.loader.catalog.find_verb(&used.name.text)?)));
        if let Some(output) = &step.output {
            let beside = verb.map_or(&[] as &[&str], |(_, verb)| verb.beside());
            return self.schema(output).map_or(Shape::Any, |schema| Shape::of(schema.source(), beside));
        }
        if let Some((used, verb)) = verb {
            let verb = verb.clone();
            let schema = self.generated(&format!("{} out", verb.name()), || verb.out_schema());
            // A verb that hands on its input says so in its schema; its fields are then those that are written.
            if schema.get("x-same-as-input").is_some_and(|same| *same == Value::Bool(true)) {
                return used
                    .with
                    .table()
                    .map_or(Shape::Any, |table| Shape::fields(table.keys().map(String::as_str)));
            }
            return Shape::Schema(schema);
        }
        let call = step.uses.iter().find(|used| used.name.text == "call");
        let pipeline = call.and_then(|used| used.with.table()?.get("pipeline")?.node.text());
        if let Some(pipeline) = pipeline {
            let plan = self.loader.callee(&pipeline.text, pipeline.span);
            return plan.map_or(Shape::Any, |plan| {
                Shape::fields(plan.outputs.iter().map(|(name, _)| name.as_str()))
            });
        }
        Shape::Any
    }

    pub(super) fn generated(&mut self, key: &str, make: impl FnOnce() -> Value) -> Arc<Value> {
        if let Some(schema) = self.generated.get(key) {
            return schema.clone();
        }
        let schema = Arc::new(make());
        self.generated.insert(key.to_owned(), schema.clone());
        schema
    }

    fn warn_never_false(&mut self, level: &Level) {
        for wait in level.waits.iter().flat_map(IndexMap::values) {
            if let (Some(span), false, false, false) = (wait.status, wait.output, wait.needed, wait.tolerated)
            {
                self.loader.found.push(
                    Diagnostic::new(Code::NeverFalse, "where this runs, the other step always ended well")
                        .at(span, "its failure skips this step")
                        .help("to run in spite of it, add `tolerates = [\"…\"]`; for mere ordering write `needs`"),
                );
            }
        }
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
        for name in &self.uncalled {
            self.loader.found.push(
                Diagnostic::new(Code::UnusedFunction, format!("nothing calls the function `{}`", name.text))
                    .at(name.span, "")
                    .help("call it, or remove it"),
            );
        }
    }

    /// A name that must be valid wherever an id is made from it.
    pub(super) fn id(name: &Name) -> StepId {
        StepId::new(&name.text)
    }
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
