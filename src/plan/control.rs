use indexmap::IndexSet;

use super::compile::{Wanted, sees};
use super::literal;
use super::question::{AnswerType, Ask};
use super::resolve::Resolver;
use super::scope::{Around, Computed, Item, Sight, Site, index_of};
use super::shape;
use super::states::States;
use super::types::{Action, Compute, Each, Hold, Limit, Loop, LoopExit, MOST_ROUNDS, OnError, Rule};
use crate::diag::{Code, Diagnostic, Span};
use crate::expr::{Data, Expr, Ref, Scope, Shape, Step};
use crate::model::{self, Name, Text, Use};
use crate::schema::Schema;
use crate::verb::Class;

/// What to do about entries of a loop's `let` that depend on each other.
const IN_STATE: &str = "carry one of the values over the round in `state`";

type Inside = Option<(Span, Vec<model::Step>)>;

impl Resolver<'_, '_> {
    pub(super) fn action(
        &mut self,
        used: Use,
        body: Inside,
        output: Option<&Schema>,
        sight: &mut Sight,
    ) -> Option<Action> {
        match used.name.text.as_str() {
            "loop" => self.rounds(used, body, sight).map(Action::Loop),
            "each" => self.each(used, body, sight).map(Action::Each),
            "hold" => self.hold(used, body, sight).map(Action::Hold),
            word => {
                if let Some((span, _)) = body {
                    self.loader.found.push(
                        Diagnostic::new(Code::BodyMisplaced, format!("`{word}` has no body"))
                            .at(span, "steps inside a step")
                            .at(used.name.span, "the verb")
                            .help("move the inner steps out; only `loop`, `each` and `hold` have a body"),
                    );
                }
                match word {
                    "call" => self.call(used, sight).map(Action::Call),
                    "ask" => self.ask(used, sight).map(Action::Ask),
                    "compute" => self.compute(used, sight).map(Action::Compute),
                    _ => self.leaf(&used, output, sight),
                }
            }
        }
    }

    fn inside(&mut self, body: Inside, owner: &Name) -> Vec<model::Step> {
        let steps = body.map(|(_, steps)| steps).unwrap_or_default();
        if steps.is_empty() {
            self.loader.found.push(
                Diagnostic::new(Code::NoSteps, format!("this `{}` has no steps inside", owner.text))
                    .at(owner.span, "without a body")
                    .help("add one: `[steps.NAME.steps.INNER]`"),
            );
        }
        steps
    }

    /// The name of an item, which may hide nothing.
    fn item(&mut self, named: Option<&Text>, over: &Text) -> Item {
        const TAKEN: [&str; 9] =
            ["inputs", "steps", "run", "attempt", "state", "let", "loop", "held", "output"];
        let item = named.map_or("item", |text| text.text.as_str());
        let span = named.map_or(over.span, |text| text.span);
        if TAKEN.contains(&item) {
            self.loader.found.push(
                Diagnostic::new(Code::BadName, format!("`{item}` is a name of the language"))
                    .at(span, "")
                    .help("choose another one, e.g. `as = \"part\"`"),
            );
        } else if self
            .items(&Site::default())
            .any(|outer| outer.name == item || index_of(&outer.name) == index_of(item))
        {
            self.loader.found.push(
                Diagnostic::new(Code::HiddenItem, format!("this `{item}` hides the one around it"))
                    .at(span, "")
                    .help("name the inner one, e.g. `as = \"part\"`"),
            );
        }
        Item { name: item.to_owned(), shape: self.made(over).item() }
    }

    fn rounds(&mut self, used: Use, body: Inside, sight: &mut Sight) -> Option<Loop> {
        let owner = used.name.clone();
        let read = model::Loop::read(used, &mut self.loader.found);
        let site = Site::default();
        if !read.bounded {
            self.loader.found.push(
                Diagnostic::new(Code::LoopBound, "nothing bounds this loop")
                    .at(owner.span, "neither `max` nor `over`")
                    .help("add `max = 10`"),
            );
        }
        let max = self.maybe(read.max.as_ref(), Wanted::Count(1, u32::MAX), &site, sight);
        let over = self.maybe(read.over.as_ref(), Wanted::List, &site, sight);
        let state = self.named(&read.state, &site, sight);
        let item = read.over.as_ref().map(|over| self.item(read.item.as_ref(), over));
        self.declared(&read);
        let counts = read.counts.as_ref().map(|words| self.classes(words));
        let steps = self.inside(body, &owner);
        let states = Shape::table(self.states(&read));
        let known = Shape::table(read.lets.iter().map(|(name, _)| (name.text.clone(), Shape::Any)));
        let around = Around::Loop { state: states.clone(), lets: known.clone(), known, item: item.clone() };
        let (mut behind, mut before) = (Sight::new(), Sight::new());
        let (body, closed, _) = self.body(steps, around, |this| {
            let funds = this.funds(&read, &mut before);
            Some((this.closing(&read, &mut behind)?, funds?))
        });
        let result = match &read.result {
            Some(result) => self.made(result),
            None => states,
        };
        self.gives(shape::of_loop(&result), None);
        let ((lets, next, rules, exits, [result, so_far]), (budget, fund)) = closed?;
        Some(Loop {
            max: max?,
            over: over?,
            item: item.map_or_else(|| "item".to_owned(), |item| item.name),
            state: state?,
            lets,
            next,
            rules,
            exits,
            result,
            so_far,
            counts: counts.unwrap_or_else(|| vec![Class::Rejected, Class::Refused]),
            budget,
            fund,
            funds_see: sees(&before),
            sees: sees(&behind),
            body,
        })
    }

    /// Complains about changes of states that do not exist.
    fn declared(&mut self, read: &model::Loop) {
        let known: IndexSet<&str> = read.state.iter().map(|(name, _)| name.text.as_str()).collect();
        let sets = read.next.iter().chain(read.rules.iter().flat_map(|rule| &rule.set));
        for (name, _) in sets.filter(|(name, _)| !known.contains(&name.text.as_str())) {
            let mut complaint =
                Diagnostic::new(Code::UnknownState, format!("there is no state `{}`", name.text))
                    .at(name.span, "not declared")
                    .suggest(&name.text, known.iter().copied());
            complaint
                .help
                .get_or_insert_with(|| format!("declare it under `state`: `{} = \"0\"`", name.text));
            self.loader.found.push(complaint);
        }
    }

    /// What a round may spend and what it needs: known before any step of it begins.
    fn funds(&mut self, read: &model::Loop, sight: &mut Sight) -> Option<(Vec<Limit>, Vec<Limit>)> {
        let mut compiled = Vec::new();
        for entries in [&read.budget, &read.fund] {
            let mut reads = Sight::new();
            compiled.push(self.caps(entries, false, &Site::default(), &mut reads));
            if let (Some((_, text)), true) = (entries.first(), reads.iter().any(|seen| seen.up == 0)) {
                self.loader.found.push(
                    Diagnostic::new(Code::NotHere, "no step of the round has begun where this is evaluated")
                        .at(text.span, "")
                        .help("read `state`, `loop.history`, `inputs` or steps outside of the loop"),
                );
            }
            sight.extend(reads);
        }
        let fund = compiled.pop()??;
        Some((compiled.pop()??, fund))
    }

    fn closing(&mut self, read: &model::Loop, sight: &mut Sight) -> Option<Closing> {
        let site = Site { closing: true, ..Site::default() };
        self.hiding(&read.lets);
        let lets = self
            .named(&read.lets, &site, sight)
            .and_then(|lets| self.by_dependency(lets, &read.lets, IN_STATE));
        for (name, text) in &read.lets {
            let shape = self.made(text);
            if let Some(Around::Loop { lets, .. }) = self.levels.last_mut().map(|level| &mut level.around) {
                lets.set_field(&name.text, shape);
            }
        }
        let next = self.named(&read.next, &site, sight);
        let rules: Vec<_> = read
            .rules
            .iter()
            .map(|rule| {
                let when = self.expr(&rule.when, Wanted::Condition, &site, sight);
                let set = self.named(&rule.set, &site, sight);
                Some(Rule { name: rule.name.text.clone(), when: when?, set: set? })
            })
            .collect();
        let exits: Vec<_> = read
            .exits
            .iter()
            .map(|exit| {
                let when = self.expr(&exit.when, Wanted::Condition, &site, sight)?;
                Some(LoopExit { status: exit.status.text.clone(), when, code: exit.code })
            })
            .collect();
        let result = self.maybe(read.result.as_ref(), Wanted::Anything, &site, sight);
        let so_far = self.maybe(read.so_far.as_ref(), Wanted::Anything, &site, sight);
        Some((
            lets?,
            next?,
            rules.into_iter().collect::<Option<_>>()?,
            exits.into_iter().collect::<Option<_>>()?,
            [result?, so_far?],
        ))
    }

    fn each(&mut self, used: Use, body: Inside, sight: &mut Sight) -> Option<Each> {
        let owner = used.name.clone();
        let read = model::Each::read(used, &mut self.loader.found)?;
        let site = Site::default();
        let over = self.expr(&read.over, Wanted::List, &site, sight);
        let item = self.item(read.item.as_ref(), &read.over);
        let keyed = Site { item: Some(&item), ..Site::default() };
        let key = self.maybe(read.key.as_ref(), Wanted::Anything, &keyed, sight);
        if let (Some(over), Some(Some(key))) = (&over, &key) {
            self.equal_keys(over, key, &item.name, read.key.as_ref());
        }
        let parallel = self.maybe(read.parallel.as_ref(), Wanted::Count(1, u32::MAX), &site, sight);
        let max_failures = self.maybe(read.max_failures.as_ref(), Wanted::Count(0, u32::MAX), &site, sight);
        let on_error = self.on_error(read.on_error.as_ref());
        if let (OnError::Stop, Some(max)) = (on_error, &read.max_failures) {
            self.loader.found.push(
                Diagnostic::new(Code::NoEffect, "`max_failures` has no effect where the first failure stops")
                    .at(max.span, "")
                    .help("remove it, or write `on_error = \"finish\"`"),
            );
        }
        let steps = self.inside(body, &owner);
        let mut behind = Sight::new();
        let (body, result, left) = self.body(steps, Around::Each { item: item.clone() }, |this| {
            this.maybe(read.result.as_ref(), Wanted::Anything, &site, &mut behind)
        });
        let made = read.result.as_ref().map_or(left, |result| self.made(result));
        self.gives(Shape::list(made.clone()), Some(made));
        Some(Each {
            over: over?,
            key: key?,
            parallel: parallel?,
            max_failures: max_failures?,
            result: result?,
            item: item.name,
            on_error,
            sees: sees(&behind),
            body,
        })
    }

    /// Complains about equal keys where they are known before the run.
    fn equal_keys(&mut self, over: &Expr, key: &Expr, item: &str, text: Option<&Text>) {
        let own = |r: &Ref| match r.path.first() {
            Some(Step::Key(root)) => *root == item || *root == index_of(item),
            _ => false,
        };
        if !over.refs().is_empty() || !key.refs().iter().all(own) {
            return;
        }
        let items =
            self.loader.constant(over, &Scope::new()).and_then(|over| over.items()).unwrap_or_default();
        let mut seen = std::collections::HashMap::new();
        for (n, made) in items.into_iter().enumerate().take(10_000) {
            let names = Scope::new().with(item, made).with(&index_of(item), Data::from_value(&n.into()));
            let Some(made) = self.loader.constant(key, &names) else { return };
            let made = made.to_value().to_string();
            if let (Some(other), Some(text)) = (seen.insert(made.clone(), n), text) {
                self.loader.found.push(
                    Diagnostic::new(
                        Code::EqualKeys,
                        format!("items {other} and {n} have the same key {}", made.replace('"', "`")),
                    )
                    .at(text.span, "")
                    .help(format!(
                        "add what tells them apart: `{} ~ '-' ~ {}`",
                        text.text,
                        index_of(item)
                    )),
                );
                return;
            }
        }
    }

    fn on_error(&mut self, word: Option<&Text>) -> OnError {
        match word.map(|word| word.text.as_str()) {
            None | Some("finish") => {}
            Some("stop") => return OnError::Stop,
            Some("keep") => return OnError::Keep,
            Some(other) => self.loader.found.push(
                Diagnostic::new(Code::UnknownWord, format!("`on_error` cannot be `{other}`"))
                    .at(word.map_or(self.levels[0].spans[0], |word| word.span), "")
                    .suggest(other, ["finish", "stop", "keep"]),
            ),
        }
        OnError::Finish
    }

    fn hold(&mut self, used: Use, body: Inside, sight: &mut Sight) -> Option<Hold> {
        let owner = used.name.clone();
        let read = model::Hold::read(used, &mut self.loader.found)?;
        if read.resources.len() != 1 {
            self.loader.found.push(
                Diagnostic::new(
                    Code::HoldOne,
                    format!("`hold` needs one resource, this has {}", read.resources.len()),
                )
                .at(owner.span, "")
                .help("name one, e.g. `hold = { service = { … } }`"),
            );
        }
        let held = read.resources.first().map(|used| self.resource(used, sight));
        let (opened, held) = held.unwrap_or_default();
        let steps = self.inside(body, &owner);
        let mut behind = Sight::new();
        let (body, result, left) = self.body(steps, Around::Hold { held: held.clone() }, |this| {
            this.maybe(read.result.as_ref(), Wanted::Anything, &Site::default(), &mut behind)
        });
        let made = read.result.as_ref().map_or(left, |result| self.made(result));
        self.gives(Shape::table([("held", held), ("result", made)]), None);
        let (resource, with, traits) = opened?;
        Some(Hold { resource, with, traits, result: result?, sees: sees(&behind), body })
    }

    fn resource(&mut self, used: &Use, sight: &mut Sight) -> (Option<Opened>, Shape) {
        let Some(resource) = self.loader.catalog.find_resource(&used.name.text).cloned() else {
            let known = self.loader.catalog.resources().map(|resource| resource.name());
            let complaint =
                Diagnostic::new(Code::UnknownResource, format!("there is no resource `{}`", used.name.text))
                    .at(used.name.span, "unknown resource")
                    .suggest(&used.name.text, known);
            self.loader.found.push(complaint);
            return (None, Shape::Any);
        };
        let name = resource.name();
        let takes = self.generated(&format!("{name} resource"), || resource.with_schema());
        let held = self.generated(&format!("{name} held"), || resource.held_schema());
        let tree = self.tree(&used.with, &Site { attempt: true, ..Site::default() }, sight);
        let before = self.loader.found.len();
        literal::check(&used.with, &takes, (name, used.name.span), &self.made, &mut self.loader.found);
        if let (Some(with), true) = (&tree, before == self.loader.found.len()) {
            let refusals = resource.refusals(&self.draft(&used.with, with));
            self.refuse(used, refusals);
        }
        (tree.map(|with| (name.to_owned(), with, resource.traits())), shape::of_schema(&held, &[]))
    }

    fn ask(&mut self, used: Use, sight: &mut Sight) -> Option<Ask> {
        let read = model::Ask::read(used, &mut self.loader.found)?;
        let site = Site::default();
        let question = self.template(&read.question, &site, sight);
        let mut tree = |node: &Option<model::Node>| node.as_ref().map(|node| self.tree(node, &site, sight));
        let (choices, show, binds) = (tree(&read.choices), tree(&read.show), tree(&read.binds));
        let (default, at_deadline) = (tree(&read.default), tree(&read.at_deadline));
        let answer = self.answer_type(&read);
        self.answers_fit(&read, [choices.as_ref(), default.as_ref(), at_deadline.as_ref()]);
        Some(Ask {
            question: question?,
            choices: flip(choices)?,
            answer,
            show: flip(show)?,
            binds: flip(binds)?,
            default: flip(default)?,
            deadline: read.deadline,
            at_deadline: flip(at_deadline)?,
        })
    }

    fn answer_type(&mut self, read: &model::Ask) -> AnswerType {
        let Some(word) = &read.answer else { return AnswerType::Text };
        let answer = match word.text.as_str() {
            "text" => AnswerType::Text,
            "json" => AnswerType::Json,
            other => {
                self.loader.found.push(
                    Diagnostic::new(Code::UnknownWord, format!("`type` of an `ask` cannot be `{other}`"))
                        .at(word.span, "")
                        .suggest(other, ["text", "json"]),
                );
                return AnswerType::Text;
            }
        };
        if let Some(choices) = &read.choices {
            self.loader.found.push(
                Diagnostic::new(
                    Code::VerbKeyType,
                    "`type` says what a free answer is, and `choices` leaves none",
                )
                .at(word.span, "")
                .at(choices.span, "the choices")
                .help("remove one of them"),
            );
        }
        answer
    }

    fn compute(&mut self, used: Use, sight: &mut Sight) -> Option<Compute> {
        let read = model::Compute::read(used, &mut self.loader.found)?;
        let outside = Site::default();
        let seed = self.maybe(read.seed.as_ref(), Wanted::Anything, &outside, sight);
        let seeded = read.seed.as_ref().map_or(Shape::Any, |seed| self.made(seed));
        let none = Computed { states: Shape::table(States::new()), seed: seeded };
        let init = self.named(&read.init, &Site { computed: Some(&none), ..Site::default() }, sight);
        let states = self.kept(&read.init, read.next.iter());
        let computed = Computed { states: Shape::table(states.clone()), seed: none.seed };
        let site = Site { computed: Some(&computed), ..Site::default() };
        let lets = self.open_lets(&read.lets, &site, sight);
        let next = self.named(&read.next, &site, sight);
        let until = self.maybe(read.until.as_ref(), Wanted::Condition, &site, sight);
        self.close_lets();
        let max = self.expr(&read.max, Wanted::Count(1, MOST_ROUNDS), &outside, sight);
        for (name, _) in read.next.iter().filter(|(name, _)| !states.contains_key(&name.text)) {
            self.loader.found.push(
                Diagnostic::new(Code::UnknownState, format!("there is no state `{}`", name.text))
                    .at(name.span, "not declared")
                    .suggest(&name.text, states.keys().map(String::as_str)),
            );
        }
        let fields = states.iter().map(|(name, shape)| (name.clone(), shape.clone()));
        self.gives(Shape::table(fields.chain([("n".to_owned(), Shape::Number)])), None);
        Some(Compute { seed: seed?, init: init?, lets: lets?, next: next?, until: until?, max: max? })
    }
}

type Closing = (Vec<(String, Expr)>, Vec<(String, Expr)>, Vec<Rule>, Vec<LoopExit>, [Option<Expr>; 2]);
type Opened = (String, crate::expr::Tree, crate::verb::Traits);

/// Absent stays absent; there but wrong becomes `None`.
#[expect(clippy::option_option, reason = "absent, and there but wrong, are two things")]
fn flip<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
