use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::resolve::Resolver;
use super::shape;
use super::types::{BodyId, InputKind, Seen};
use super::waits::Wait;
use crate::diag::{Code, Diagnostic, Span};
use crate::expr::{Choices, Fallback, Ref, Shape, Step};
use crate::model::Text;

/// A body that is being resolved.
pub(super) struct Level {
    pub(super) id: BodyId,
    pub(super) names: IndexMap<String, usize>,
    pub(super) spans: Vec<Span>,
    pub(super) shapes: Vec<StepShape>,
    /// By step: whether it runs always.
    pub(super) always: Vec<bool>,
    /// By step: whether some expression reads what it has spent.
    pub(super) tells_spent: Vec<bool>,
    /// The step whose header, input or inside is being resolved.
    pub(super) current: Option<usize>,
    /// By step: what it waits for, and why.
    pub(super) waits: Vec<IndexMap<usize, Wait>>,
    /// What the expressions wait for that close the body.
    pub(super) closing: IndexMap<usize, Wait>,
    pub(super) around: Around,
}

/// What is known of `steps.NAME`.
#[derive(Clone, Default)]
pub(super) struct StepShape {
    pub(super) output: Shape,
    /// Of an `each`: what its items leave behind. It has `items`, and its `failed` is a list.
    pub(super) items: Option<Shape>,
    /// Of an `each`: whether it ends well although items fail.
    pub(super) keeps: bool,
    /// Of an `ask`: the answers that there are to choose from, where all of them are written.
    pub(super) choices: Option<Arc<Choices>>,
}

impl StepShape {
    pub(super) fn of(output: Shape) -> Self {
        Self { output, ..Self::default() }
    }

    /// What `field` is to a step that waits for this one: what it gives, or how it ended.
    fn asked(&self, field: Option<&str>) -> Asked {
        match field {
            Some("items") if self.items.is_some() => Asked::Items,
            Some("failed") if self.keeps => Asked::Items,
            Some("spent") => Asked::Spent,
            Some("ok" | "skipped" | "failed" | "error") => Asked::Ending,
            _ => Asked::Output,
        }
    }

    pub(super) fn field(&self, field: &str) -> Shape {
        match (field, &self.items) {
            ("output", _) => self.output.clone(),
            ("error", _) => shape::failure(),
            ("spent", _) => shape::spent_by_step(),
            ("failed", Some(_)) => shape::failed_items(),
            ("items", Some(output)) => shape::all_items(output.clone()),
            ("ok" | "skipped" | "failed", _) => Shape::Bool,
            _ => Shape::Any,
        }
    }
}

/// What a reference asks of another step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Output,
    /// The items of an `each`, which are there before it has ended and if some of them failed.
    Items,
    /// How it ended.
    Ending,
    /// What it has spent, however it ended.
    Spent,
}

/// What a body adds to the names in scope.
pub(super) enum Around {
    Root,
    /// `known` is what `let` is where no shape of it is known, as in earlier rounds.
    Loop {
        state: Shape,
        lets: Shape,
        known: Shape,
        item: Option<Item>,
    },
    Each {
        item: Item,
    },
    Hold {
        held: Shape,
    },
}

/// The name of an item, and what is known of it.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// What a place adds to the names in scope.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a place")]
pub(super) struct Site<'s> {
    /// Before a run begins: `inputs` and nothing else.
    pub(super) before: bool,
    /// The input of a verb: `attempt`.
    pub(super) attempt: bool,
    /// A decision about a failure: `error`.
    pub(super) error: bool,
    /// Behind a round: `let`.
    pub(super) closing: bool,
    /// A check of an output: `output`.
    pub(super) output: Option<&'s Shape>,
    /// An exit of the pipeline: `outputs`.
    pub(super) outputs: Option<&'s [String]>,
    /// The name of an item.
    pub(super) item: Option<&'s Item>,
    /// A computation: `state`, `n`, `seed`.
    pub(super) computed: Option<&'s Computed>,
}

/// What is known of the names of a computation.
pub(super) struct Computed {
    pub(super) states: Shape,
    pub(super) seed: Shape,
}

/// The steps that some expressions read.
pub(super) type Sight = IndexSet<Seen>;

const FIELDS: [&str; 6] = ["ok", "skipped", "failed", "output", "error", "spent"];
pub(super) const SOMEWHERE: [(&str, &str); 9] = [
    ("attempt", "`attempt` is in scope in the input of a verb"),
    ("state", "`state` is in scope inside a loop"),
    (
        "let",
        "`let` is in scope in a step with `let`, and in `let`, `next`, `rules`, `exits` and `result` of a loop",
    ),
    ("loop", "`loop` is in scope inside a loop"),
    ("item", "`item` is in scope inside `each`, and inside a loop with `over`"),
    ("index", "`index` is in scope inside `each`, and inside a loop with `over`"),
    ("held", "`held` is in scope inside the body of `hold`"),
    ("output", "`output` is in scope in `check` and `retry.until`; elsewhere write `steps.NAME.output`"),
    ("outputs", "`outputs` is in scope in the pipeline's `exits`"),
];

pub(super) fn index_of(item: &str) -> String {
    if item == "item" { "index".to_owned() } else { format!("{item}_index") }
}

fn key(r: &Ref, at: usize) -> Option<&str> {
    match r.path.get(at) {
        Some(Step::Key(key)) => Some(key),
        _ => None,
    }
}

impl Resolver<'_, '_> {
    pub(super) fn key_span(&self, text: &Text, r: &Ref, at: usize) -> Span {
        self.loader.texts.place(text, r.file.as_ref(), r.key_ranges.get(at).unwrap_or(&r.range))
    }

    /// Checks one reference and notes what it reads.
    pub(super) fn refer(&mut self, text: &Text, r: &Ref, site: &Site<'_>, sight: &mut Sight) {
        let Some(root) = key(r, 0) else { return };
        self.cached_time(text, r, site);
        match root {
            "inputs" => self.refer_input(text, r),
            "steps" | "run" if site.before || self.levels.is_empty() => self.too_early(text, r, root),
            "steps" => self.refer_step(text, r, sight),
            "run" if key(r, 1) == Some("status") && !self.is_always() => self.no_status(text, r),
            "run" => self.refer_shape(text, r, 1, &self.run_shape(), Code::UnknownField),
            "attempt" if site.attempt => self.refer_shape(text, r, 1, &attempt_shape(), Code::UnknownField),
            "error" if site.error => self.refer_shape(text, r, 1, &shape::failure(), Code::UnknownField),
            "output" if site.output.is_some() => {
                let shape = site.output.cloned().unwrap_or_default();
                self.refer_shape(text, r, 1, &shape, Code::UnknownOutputField);
            }
            "outputs" if site.outputs.is_some() => {
                let known: Vec<&str> = site.outputs.unwrap_or_default().iter().map(String::as_str).collect();
                self.field(text, r, &known);
            }
            "state" if site.computed.is_some() => {
                let states = site.computed.map(|computed| computed.states.clone()).unwrap_or_default();
                self.refer_shape(text, r, 1, &states, Code::UnknownField);
            }
            "n" | "seed" if site.computed.is_some() => {}
            "let" => self.refer_let(text, r, site),
            "state" | "loop" | "held" => self.refer_control(text, r, root, site),
            name if self.is_item(name, site) => {
                let shape = self.item_shape(name, site);
                self.refer_shape(text, r, 1, &shape, Code::UnknownField);
            }
            name => self.unknown_root(text, r, name, site),
        }
    }

    fn too_early(&mut self, text: &Text, r: &Ref, root: &str) {
        let span = self.key_span(text, r, 0);
        self.loader.found.push(
            Diagnostic::new(Code::NotHere, format!("there is no `{root}` before a run begins"))
                .at(span, "")
                .help("this is evaluated when a run starts: it sees `inputs` and nothing else"),
        );
    }

    pub(super) fn is_item(&self, name: &str, site: &Site<'_>) -> bool {
        self.items(site).any(|item| item.name == name || index_of(&item.name) == name)
    }

    /// What is known of an item or of its index.
    pub(super) fn item_shape(&self, name: &str, site: &Site<'_>) -> Shape {
        match self.items(site).find(|item| item.name == name || index_of(&item.name) == name) {
            Some(item) if item.name == name => item.shape.clone(),
            Some(_) => Shape::Number,
            None => Shape::Any,
        }
    }

    /// The names of the items in scope, innermost first.
    pub(super) fn items<'s>(&'s self, site: &'s Site<'_>) -> impl Iterator<Item = &'s Item> {
        let around = self.levels.iter().rev().filter_map(|level| match &level.around {
            Around::Loop { item: Some(item), .. } | Around::Each { item } => Some(item),
            _ => None,
        });
        site.item.into_iter().chain(around)
    }

    fn unknown_root(&mut self, text: &Text, r: &Ref, name: &str, site: &Site<'_>) {
        let span = self.key_span(text, r, 0);
        let elsewhere = SOMEWHERE.iter().find(|(word, _)| *word == name);
        let complaint = if let Some((_, hint)) = elsewhere {
            Diagnostic::new(Code::NotHere, format!("`{name}` is not in scope here")).at(span, "").help(*hint)
        } else {
            let roots = ["inputs", "steps", "run"].into_iter();
            let others = SOMEWHERE.iter().map(|(word, _)| *word);
            let known: Vec<&str> =
                roots.chain(self.items(site).map(|item| item.name.as_str())).chain(others).collect();
            Diagnostic::new(Code::UnknownName, format!("nothing is called `{name}` here"))
                .at(span, "unknown name")
                .suggest(name, known)
        };
        self.loader.found.push(complaint);
    }

    fn field(&mut self, text: &Text, r: &Ref, known: &[&str]) {
        let (Some(root), Some(field)) = (key(r, 0), key(r, 1)) else { return };
        if !known.contains(&field) && !r.guarded {
            let span = self.key_span(text, r, 1);
            self.loader.found.push(
                Diagnostic::new(Code::UnknownField, format!("`{root}` has no `{field}`"))
                    .at(span, "unknown field")
                    .suggest(field, known.iter().copied()),
            );
        }
    }

    pub(super) fn refer_control(&mut self, text: &Text, r: &Ref, root: &str, site: &Site<'_>) {
        let is_loop = |level: &Level| matches!(level.around, Around::Loop { .. });
        let is_there = match root {
            "held" => self.levels.iter().any(|level| matches!(level.around, Around::Hold { .. })),
            "let" => site.closing && self.levels.iter().any(is_loop),
            _ => self.levels.iter().any(is_loop),
        };
        if is_there {
            let shape = self.control_shape(root);
            self.refer_shape(text, r, 1, &shape, Code::UnknownField);
        } else {
            self.unknown_root(text, r, root, site);
        }
    }

    fn refer_input(&mut self, text: &Text, r: &Ref) {
        let Some(name) = key(r, 1) else {
            self.used.extend(self.inputs.keys().cloned());
            return;
        };
        self.secret_as_text(text, r, name);
        if self.used.contains(name) && r.path.len() < 3 {
            return;
        }
        let Some(input) = self.inputs.get(name) else {
            let span = self.key_span(text, r, 1);
            let known = self.inputs.keys().map(String::as_str);
            let mut complaint = Diagnostic::new(Code::UnknownInput, format!("there is no input `{name}`"))
                .at(span, "not declared")
                .suggest(name, known);
            complaint.help.get_or_insert_with(|| format!("declare it: `[inputs.{name}]`"));
            self.loader.found.push(complaint);
            return;
        };
        let shape = shape::of_input(input);
        self.used.insert(name.to_owned());
        self.refer_shape(text, r, 2, &shape, Code::UnknownField);
    }

    /// Complains where the name of a secret would be taken for its value.
    fn secret_as_text(&mut self, text: &Text, r: &Ref, name: &str) {
        let is_secret = self.inputs.get(name).is_some_and(|input| input.kind == InputKind::Secret);
        if !is_secret || self.names_secret {
            return;
        }
        let span = self.key_span(text, r, 1);
        let message = format!(
            "`inputs.{name}` is the name of a secret, and would be used here as if it were the value"
        );
        let help = format!(
            "give it to a key that takes a secret, e.g. a header or an environment variable: \
             `{{ secret = \"{{{{ inputs.{name} }}}}\" }}`, with `prefix = \"Bearer \"` if needed"
        );
        self.loader.found.push(Diagnostic::new(Code::SecretAsText, message).at(span, "a name").help(help));
    }

    /// Checks the rest of a path, from `at` on, against what is known of the value.
    pub(super) fn refer_shape(&mut self, text: &Text, r: &Ref, at: usize, shape: &Shape, code: Code) {
        if r.guarded {
            return;
        }
        let Err(wrong) = shape.walk(&r.path[at.min(r.path.len())..]) else { return };
        let at = at + wrong.at;
        let Some(field) = key(r, at) else { return };
        let span = self.key_span(text, r, at);
        let owner = r.path[..at].iter().map(word).collect::<Vec<_>>().join(".");
        let complaint = if at == 1 {
            format!("`{owner}` has no `{field}`")
        } else {
            format!("`{owner}` has no field `{field}`")
        };
        let complaint = Diagnostic::new(code, complaint).at(span, "unknown field");
        let known = wrong.known();
        self.loader.found.push(if !known.is_empty() {
            complaint.suggest(field, known)
        } else if wrong.noun == "a list" {
            complaint.help(format!(
                "it is a list: write `… | map(attribute='{field}')`, or take one item: `[0].{field}`"
            ))
        } else {
            complaint.help("it is a plain value without fields")
        });
    }

    fn refer_step(&mut self, text: &Text, r: &Ref, sight: &mut Sight) {
        let Some(name) = key(r, 1) else {
            let span = self.key_span(text, r, 0);
            self.loader.found.push(
                Diagnostic::new(Code::DynamicStep, "which steps are read cannot be known before the run")
                    .at(span, "")
                    .help("name each step: `steps.NAME.output`"),
            );
            return;
        };
        let span = self.key_span(text, r, 1);
        let Some((depth, place)) = self.find(name) else {
            let complaint = self.unknown_step(name, span);
            self.loader.found.push(complaint);
            return;
        };
        if self.levels[depth].current == Some(place) {
            self.loader.found.push(
                Diagnostic::new(
                    Code::SelfRead,
                    format!("`{name}` has not ended yet where this is evaluated"),
                )
                .at(span, "reads itself")
                .at(self.levels[depth].spans[place], "the step")
                .help("in `check` write `output`; inside a loop carry values in `state`"),
            );
            return;
        }
        let field = key(r, 2);
        let step = self.levels[depth].shapes[place].clone();
        let known = |field: &&str| FIELDS.contains(field) || step.items.is_some() && *field == "items";
        if let Some(field) = field.filter(|field| !known(field)) {
            let at = self.key_span(text, r, 2);
            let hint = crate::diag::nearest(field, FIELDS).map_or_else(
                || format!("did you mean `steps.{name}.output.{field}`?"),
                |near| format!("did you mean `{near}`?"),
            );
            self.loader.found.push(
                Diagnostic::new(Code::UnknownStepField, format!("steps have no field `{field}`"))
                    .at(at, "not one of ok, skipped, failed, output, error, spent")
                    .help(hint),
            );
        }
        if let Some(field) = field {
            self.refer_shape(text, r, 3, &step.field(field), Code::UnknownOutputField);
        }
        sight.insert(Seen { up: self.levels.len() - 1 - depth, step: place });
        let asked = step.asked(field);
        if asked == Asked::Spent {
            self.levels[depth].tells_spent[place] = true;
        }
        if r.fallback == Fallback::Last && matches!(field, Some("output" | "error")) {
            self.must_not_be_absent(text, r);
        }
        self.wait(depth, place, span, |wait| match asked {
            Asked::Output => {
                wait.output = true;
                wait.absence |= r.fallback != Fallback::None;
            }
            Asked::Items => {
                wait.items = true;
                wait.absence |= field == Some("failed");
            }
            Asked::Spent => {}
            Asked::Ending => wait.absence = true,
        });
    }

    /// Depth and place of the step that `name` means here.
    pub(super) fn find(&self, name: &str) -> Option<(usize, usize)> {
        let mut levels = self.levels.iter().enumerate().rev();
        levels.find_map(|(depth, level)| level.names.get(name).map(|place| (depth, *place)))
    }

    pub(super) fn unknown_step(&self, name: &str, span: Span) -> Diagnostic {
        if let Some((owner, place)) = self.owners.get(name).and_then(|places| places.first()) {
            return Diagnostic::new(Code::InsideBody, format!("`{name}` is inside the body of `{owner}`"))
                .at(span, "cannot be seen from here")
                .at(*place, "it stands here")
                .help(format!(
                    "give `{owner}` a `result` that holds what you need, and read `steps.{owner}.output`"
                ));
        }
        let known = self.levels.iter().rev().flat_map(|level| level.names.keys().map(String::as_str));
        let complaint =
            Diagnostic::new(Code::UnknownStep, format!("there is no step `{name}`")).at(span, "unknown step");
        complaint.suggest(name, known)
    }
}

fn word(step: &Step) -> String {
    match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
        Step::Dynamic => "[…]".to_owned(),
    }
}

pub(super) fn attempt_shape() -> Shape {
    Shape::table([("n", Shape::Number), ("error", shape::failure().or_none()), ("at", Shape::Text)])
}

/// The names in scope at a place, with what is known of them.
pub(super) struct InScope<'r, 'l, 'a, 's> {
    pub(super) resolver: &'r Resolver<'l, 'a>,
    pub(super) site: &'s Site<'s>,
}
