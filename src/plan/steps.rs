use std::sync::Arc;

use super::accepts::Accepts;
use super::compile::{Wanted, sees};
use super::literal;
use super::resolve::Resolver;
use super::scope::{Around, Sight, Site};
use super::types::{Action, CachedFiles, Limit, OnInterrupt, Step, StepLets};
use crate::diag::{Code, Diagnostic, nearest};
use crate::expr::{Ref, Step as Key};
use crate::meter::Unit;
use crate::model::{self, Name, Node, Raw, Text, Use};
use crate::schema::Schema;
use crate::value::Value;
use crate::verb::Traits;

/// Verbs that the language itself knows.
pub(super) const CONTROL: [&str; 6] = ["loop", "each", "hold", "call", "ask", "compute"];

impl Resolver<'_, '_> {
    pub(super) fn step(&mut self, step: model::Step) -> Option<Step> {
        let lets = self.step_lets(&step);
        let outer = std::mem::replace(&mut self.cached, step.cache.then_some(step.id.span));
        let resolved = self.step_with(step, lets);
        self.cached = outer;
        self.close_lets();
        resolved
    }

    fn step_with(&mut self, mut step: model::Step, lets: Option<StepLets>) -> Option<Step> {
        let mut sight = Sight::new();
        let site = Site::default();
        let when = self.maybe(step.when.as_ref(), Wanted::Condition, &site, &mut sight);
        self.orderings(&step);
        step.forbid.iter().for_each(|label| self.label(label));
        let output = step.output.as_ref().map(|node| self.schema(node));
        let files = self.cached_files(&step);
        if step.cache {
            self.shared_products(&step);
        }
        self.time_limits(&step);
        let budget = self.caps(&step.budget, false, &site, &mut sight);
        let used = self.verb(&mut step);
        let mut retry = self.retry(&step, used.as_ref(), &mut sight);
        let timeout = self.time_limit(step.timeout.as_ref());
        let lane = self.lane(step.lane.as_ref());
        self.inside_unbound(&step, used.as_ref());
        self.without_effect(&step, used.as_ref());
        let on_interrupt = self.on_interrupt(&step, used.as_ref());
        let outage_pauses = self.outage_pauses(step.on_outage.as_ref());
        let fails_none = self.fails_none(step.fails.as_ref());
        let on_pause = self.on_pause(&step, used.as_ref());
        let always = self.always(&step, used.as_ref());
        let body = step.body.take();
        let action =
            used.and_then(|used| self.action(used, body, output.clone().flatten().as_deref(), &mut sight));
        let check = self.checks(&step, &mut retry, &mut sight);
        let action = action.map(|mut action| {
            self.again(&mut action, &retry, &mut sight);
            action
        });
        let resolved = Step {
            id: Self::id(&step.id),
            lets: lets?,
            when: when?,
            deps: Vec::new(),
            sees: sees(&sight),
            retry,
            timeout,
            lane,
            budget: budget?,
            output: output.flatten(),
            check: check?,
            cache: step.cache,
            files,
            on_interrupt,
            outage_pauses,
            fails_none: fails_none || always,
            tells_spent: false,
            on_pause,
            always,
            forbid: step.forbid.into_iter().map(|label| label.text).collect(),
            action: action?,
            span: step.id.span,
            origin: self.origins.remove(&step.id.span).unwrap_or_default(),
        };
        self.shared_output(&resolved, &step.id);
        Some(resolved)
    }

    fn orderings(&mut self, step: &model::Step) {
        for text in &step.needs {
            if let Some((depth, place)) = self.neighbour(text) {
                self.wait(depth, place, text.span, |wait| wait.needed = true);
            }
        }
        for text in &step.tolerates {
            let Some((depth, place)) = self.neighbour(text) else { continue };
            if depth + 1 == self.levels.len() {
                self.wait(depth, place, text.span, |wait| wait.tolerates = Accepts::all());
            } else {
                self.loader.found.push(
                    Diagnostic::new(
                        Code::ToleratesOuter,
                        format!("`{}` stands outside this body", text.text),
                    )
                    .at(text.span, "")
                    .help("put `tolerates` on the step that owns the body"),
                );
            }
        }
    }

    /// Compiles caps on units. `wall` is for whole runs: steps have their `timeout`.
    pub(super) fn caps(
        &mut self,
        entries: &[(Name, Text)],
        whole: bool,
        site: &Site<'_>,
        sight: &mut Sight,
    ) -> Option<Vec<Limit>> {
        let known: Vec<Unit> = Limit::UNITS.into_iter().filter(|unit| whole || *unit != Unit::Wall).collect();
        let unit_of = |name: &Name| Unit::parse(&name.text).filter(|unit| known.contains(unit));
        let words: Vec<&str> = known.iter().map(|unit| unit.word()).collect();
        for (name, _) in entries.iter().filter(|(name, _)| unit_of(name).is_none()) {
            let mut complaint =
                Diagnostic::new(Code::UnknownWord, format!("nothing is counted in `{}` here", name.text))
                    .at(name.span, "unknown unit");
            complaint = match Unit::parse(&name.text) {
                Some(Unit::Wall) => complaint.help("the time of a step is bounded by its `timeout`"),
                _ => complaint.suggest(&name.text, words.iter().copied()),
            };
            complaint.help.get_or_insert_with(|| format!("units are {}", words.join(", ")));
            self.loader.found.push(complaint);
        }
        let mut caps = Vec::with_capacity(entries.len());
        for (name, text) in entries {
            let (unit, mut reads) = (unit_of(name), Sight::new());
            let cap = self.expr(text, Wanted::Cap { span: unit == Some(Unit::Wall) }, site, &mut reads);
            if whole && !reads.is_empty() {
                self.loader.found.push(
                    Diagnostic::new(Code::NotHere, "caps of a whole run do not see its steps")
                        .at(text.span, "")
                        .help("read `inputs` or `run`; the most that a step may spend is its `budget`"),
                );
            }
            sight.extend(reads);
            caps.push(cap.zip(unit).map(|(cap, unit)| Limit { unit, cap }));
        }
        caps.into_iter().collect()
    }

    fn neighbour(&mut self, text: &Text) -> Option<(usize, usize)> {
        let found = self.find(&text.text);
        match found {
            None => {
                let complaint = self.unknown_step(&text.text, text.span);
                self.loader.found.push(complaint);
                None
            }
            Some((depth, place)) if self.levels[depth].current == Some(place) => {
                self.loader.found.push(
                    Diagnostic::new(Code::SelfRead, format!("`{}` cannot wait for itself", text.text))
                        .at(text.span, "")
                        .help("remove it"),
                );
                None
            }
            found => found,
        }
    }

    /// Complains about files that another cached step produces as well: its recorded ones would take their place.
    fn shared_products(&mut self, step: &model::Step) {
        // A glob matches the names that another one has in mind if it matches that glob with its wildcards filled in.
        let covers = |glob: &str, other: &str| {
            let filled = other.replace("**", "x").replace(['*', '?'], "x");
            crate::tree::globs(&[glob.to_owned()]).is_ok_and(|set| set.is_match(filled))
        };
        for text in &step.produces {
            let shared = self.produced.iter().find(|(owner, other)| {
                *owner != step.id.text && (covers(&text.text, &other.text) || covers(&other.text, &text.text))
            });
            if let Some((owner, other)) = shared {
                self.loader.found.push(
                    Diagnostic::new(
                        Code::SharedProducts,
                        format!("the step `{owner}` produces these files as well"),
                    )
                    .at(text.span, "")
                    .at(other.span, "these")
                    .help("let each cached step write to a directory of its own"),
                );
            }
        }
        let own = step.produces.iter().map(|text| (step.id.text.clone(), text.clone()));
        self.produced.extend(own);
    }

    /// What belongs to a cached step, and complaints where that cannot be right.
    fn cached_files(&mut self, step: &model::Step) -> Option<Arc<CachedFiles>> {
        let written = step.inputs.iter().flatten().chain(&step.produces);
        if let (false, Some(text)) = (step.cache, written.clone().next()) {
            self.loader.found.push(
                Diagnostic::new(
                    Code::NoEffect,
                    "`inputs` and `produces` have no effect without `cache = true`",
                )
                .at(text.span, "")
                .help("add `cache = true`, or remove them"),
            );
        }
        for text in written {
            if let Err(message) = crate::tree::globs(std::slice::from_ref(&text.text)) {
                self.loader.found.push(
                    Diagnostic::new(Code::WrongType, message)
                        .at(text.span, "")
                        .help("name files of the project, e.g. `src/**/*.rs`"),
                );
            }
        }
        let used =
            step.uses.iter().find_map(|used| Some((used, self.loader.catalog.find_verb(&used.name.text)?)));
        if let (true, None, Some((used, verb))) = (step.cache, &step.inputs, used)
            && verb.reads_files()
        {
            self.loader.found.push(
                Diagnostic::new(
                    Code::CacheBlind,
                    format!(
                        "which files `{}` reads is not known: a change of them is not noticed",
                        step.id.text
                    ),
                )
                .at(used.name.span, "cached by its input alone")
                .help("name them, e.g. `inputs = [\"src/**/*.rs\"]`; if it reads none, write `inputs = []`"),
            );
        }
        let texts = |texts: &[Text]| texts.iter().map(|text| text.text.clone()).collect::<Vec<_>>();
        let files = CachedFiles {
            inputs: texts(step.inputs.as_deref().unwrap_or_default()),
            produces: texts(&step.produces),
        };
        let any = !files.inputs.is_empty() || !files.produces.is_empty();
        (step.cache && any).then(|| Arc::new(files))
    }

    /// Complains where all items of an `each` share one recorded output, because the input of a cached step is the same.
    fn shared_output(&mut self, step: &Step, text: &Name) {
        let Action::Verb { with, .. } = &step.action else { return };
        let Some(inner) = self.levels.iter().rposition(|level| matches!(level.around, Around::Each { .. }))
        else {
            return;
        };
        let varies = |r: &&Ref| match r.path.as_slice() {
            [Key::Key(root), Key::Key(name), ..] if root == "steps" => {
                self.find(name).is_none_or(|(depth, _)| depth >= inner)
            }
            [Key::Key(root), ..] => !matches!(root.as_str(), "inputs" | "run"),
            _ => true,
        };
        if step.cache && !self.through_lets(with.refs().into_iter()).iter().any(varies) {
            self.loader.found.push(
                Diagnostic::new(
                    Code::SharedOutput,
                    format!(
                        "all items share one recorded output of `{}`: its input is the same for each",
                        text.text
                    ),
                )
                .at(text.span, "cached")
                .help("put what tells items apart into its input (`item`, a seed), or remove `cache = true`"),
            );
        }
    }

    fn on_interrupt(&mut self, step: &model::Step, used: Option<&Use>) -> OnInterrupt {
        if let Some(word) = &step.on_interrupt {
            match word.text.as_str() {
                "retry" => return OnInterrupt::Retry,
                "ask" => return OnInterrupt::Ask,
                "fail" => return OnInterrupt::Fail,
                other => self.loader.found.push(
                    Diagnostic::new(Code::UnknownWord, format!("`on_interrupt` cannot be `{other}`"))
                        .at(word.span, "")
                        .suggest(other, ["retry", "ask", "fail"]),
                ),
            }
        }
        let verb = used.and_then(|used| self.loader.catalog.find_verb(&used.name.text));
        if step.idempotent || step.always.is_some() || verb.is_none_or(|verb| verb.traits().idempotent) {
            OnInterrupt::Retry
        } else {
            OnInterrupt::Ask
        }
    }

    fn fails_none(&mut self, word: Option<&Text>) -> bool {
        let Some(word) = word else { return false };
        if word.text != "none" {
            self.loader.found.push(
                Diagnostic::new(Code::UnknownWord, format!("`fails` cannot be `{}`", word.text))
                    .at(word.span, "")
                    .help("write `fails = \"none\"`: its failure changes nothing about how the run ends"),
            );
        }
        true
    }

    fn is_verb(&self, name: &str) -> bool {
        CONTROL.contains(&name) || self.loader.catalog.find_verb(name).is_some()
    }

    /// The one verb of a step; complains about none, several, and keys that mean nothing.
    fn verb(&mut self, step: &mut model::Step) -> Option<Use> {
        let uses = std::mem::take(&mut step.uses);
        let (mut verbs, others): (Vec<Use>, Vec<Use>) =
            uses.into_iter().partition(|used| self.is_verb(&used.name.text));
        let mut mistaken = false;
        for used in &others {
            let word = &used.name.text;
            let verb_like = verbs.is_empty() && matches!(used.with.value, Raw::Table(_));
            let former = self.loader.catalog.replacement(word);
            let header = nearest(word, model::Step::HEADER).filter(|_| former.is_none());
            mistaken |= verb_like && header.is_none();
            let complaint = if verb_like && header.is_none() {
                let known = CONTROL.into_iter().chain(self.loader.catalog.verbs().map(|verb| verb.name()));
                let complaint = Diagnostic::new(Code::UnknownVerb, format!("there is no verb `{word}`"))
                    .at(used.name.span, "unknown verb");
                if let Some(help) = former {
                    complaint.help(help)
                } else {
                    let mut complaint = complaint.suggest(word, known);
                    complaint.help.get_or_insert_with(|| "`atoll verbs` lists all verbs".to_owned());
                    complaint
                }
            } else {
                Diagnostic::new(Code::UnknownKey, format!("a step has no key `{word}`"))
                    .at(used.name.span, "unknown key")
                    .suggest(word, model::Step::HEADER)
            };
            self.loader.found.push(complaint);
        }
        match verbs.len() {
            0 if !mistaken && step.is_table => self.loader.found.push(
                Diagnostic::new(Code::NoVerb, format!("`{}` does not say what it does", step.id.text))
                    .at(step.id.span, "no verb")
                    .help("add a verb, e.g. `set = { x = 1 }`; `atoll verbs` lists them"),
            ),
            0 | 1 => {}
            _ => {
                let words = verbs.iter().map(|used| format!("`{}`", used.name.text)).collect::<Vec<_>>();
                let mut complaint = Diagnostic::new(
                    Code::TwoVerbs,
                    format!("a step has one verb, this one has {}", words.join(" and ")),
                );
                for used in &verbs {
                    complaint = complaint.at(used.name.span, "");
                }
                self.loader.found.push(complaint.help("make a step of each"));
            }
        }
        verbs.drain(..).next()
    }

    /// Compiles the schema in a step's header: the name of a file, or the schema itself.
    pub(super) fn schema(&mut self, node: &Node) -> Option<Arc<Schema>> {
        let Some(path) = node.text() else {
            let key = format!("{:?}", node.span);
            if let Some(schema) = self.schemas.get(&key) {
                return schema.clone();
            }
            let made = match node.value {
                Raw::Table(_) => Schema::compile("output", node.to_value()).map_err(|e| e.message),
                _ => Err(format!("a schema is a table or the path of a file, this is {}", node.noun())),
            };
            return self.keep(key, made, node);
        };
        if let Some(schema) = self.schemas.get(&path.text) {
            return schema.clone();
        }
        let made = match self.file(&path) {
            None => {
                self.schemas.insert(path.text, None);
                return None;
            }
            Some(text) => serde_json::from_str(&text.text)
                .map_err(|e| format!("`{}` is no JSON: {e}", path.text))
                .and_then(|source| Schema::compile(path.text.clone(), source).map_err(|e| e.to_string())),
        };
        self.keep(path.text, made, node)
    }

    fn keep(&mut self, key: String, made: Result<Schema, String>, node: &Node) -> Option<Arc<Schema>> {
        let schema = match made {
            Ok(schema) => Some(Arc::new(schema)),
            Err(message) => {
                self.loader.found.push(
                    Diagnostic::new(Code::BadSchema, message)
                        .at(node.span, "")
                        .help("a schema is JSON Schema 2020-12"),
                );
                None
            }
        };
        self.schemas.insert(key, schema.clone());
        schema
    }

    pub(super) fn leaf(&mut self, used: &Use, output: Option<&Schema>, sight: &mut Sight) -> Option<Action> {
        let verb = self.loader.catalog.find_verb(&used.name.text)?.clone();
        let schema = self.generated(&format!("{} with", verb.name()), || verb.with_schema());
        let with = self.tree(&used.with, &Site { attempt: true, ..Site::default() }, sight);
        let owner = (verb.name(), used.name.span);
        let before = self.loader.found.len();
        literal::check(&used.with, &schema, owner, &self.made, &mut self.loader.found);
        if let (Some(with), true) = (&with, before == self.loader.found.len()) {
            let refusals = verb.refusals(&self.draft(&used.with, with));
            self.refuse(used, refusals);
        }
        if output.is_some() {
            self.no_schema(used, verb.output_keys());
        }
        for remark in verb.remarks(&self.with_defaults(used.with.to_value())) {
            self.remark(used, remark);
        }
        let same = self.generated(&format!("{} out", verb.name()), || verb.out_schema());
        if same.get("x-same-as-input").is_some_and(|same| *same == Value::Bool(true)) && output.is_none() {
            self.gives(self.made_of(&used.with), None);
        }
        let with = with?;
        self.keys_at_start(used, &with);
        let traits = Traits { lane: verb.lane(&used.with.to_value()), ..verb.traits() };
        Some(Action::Verb { name: verb.name().to_owned(), with, traits, again: None })
    }
}
