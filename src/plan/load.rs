use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::bundle::Bundle;
use super::defaults;
use super::merge::{Laying, Replaced};
use super::resolve::resolve;
use super::setting::{Setting, reaches, setting};
use super::sources::{BUILTIN, MemorySources, Sources, library_path};
use super::texts::Texts;
use super::types::{Origin, Plan};
use crate::diag::{self, Code, Diagnostic, Severity, SourceId, Span};
use crate::expr::{Allowance, Data, Expr, Scope};
use crate::model::{Name, Node, Pipeline, Raw, Table};
use crate::value::{Digest, Value};
use crate::verb::Catalog;

/// What came of loading a pipeline.
pub struct Loaded {
    /// The plan, where there is no error.
    pub plan: Option<Arc<Plan>>,
    /// All complaints, by place.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that they point into.
    pub sources: diag::SourceMap,
    /// Everything that was read: gives the same plan again.
    pub bundle: Bundle,
}

/// Loads the pipeline `name` (a name, or a path that ends in `.toml`), with `sets` laid over it (`PATH=VALUE`) and over those
/// that it calls (`PIPELINE:PATH=VALUE`).
pub fn load(name: &str, door: &dyn Sources, catalog: &Catalog, sets: &[String]) -> Loaded {
    let mut loader = Loader::new(door, catalog);
    loader.set(sets);
    let plan = loader.pipeline(name, None);
    loader.finish(name, sets, plan)
}

/// A pipeline as it is once it is laid over those that it extends.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The path under which it was found.
    pub path: String,
    /// Everything that it says.
    pub value: Value,
}

/// The pipeline `name` and those that it calls, each with what it extends, and everything that was read for that. Errors:
/// one of them has a mistake.
pub fn merged(name: &str, door: &dyn Sources, catalog: &Catalog) -> Result<(Vec<Merged>, Bundle), Loaded> {
    let mut loader = Loader { merged: Some(Vec::new()), ..Loader::new(door, catalog) };
    loader.pipeline(name, None);
    let merged = loader.merged.take().unwrap_or_default();
    let loaded = loader.finish(name, &[], None);
    let broken = loaded.diagnostics.iter().any(|d| d.severity == Severity::Error);
    if broken { Err(loaded) } else { Ok((merged, loaded.bundle)) }
}

/// Loads what was stored with a run, and reads nothing else.
pub fn load_bundle(bundle: &Bundle, catalog: &Catalog) -> Loaded {
    let door = MemorySources::new(bundle.files.iter().map(|(path, text)| (path.clone(), text.as_str())));
    load(&bundle.main, &door, catalog, &bundle.sets)
}

/// How much work one constant expression, and all of a load together, may take, in nodes and items.
const WORK_EACH: u64 = 200_000;
const WORK: u64 = 2_000_000;

/// Most complaints that are shown one by one.
const MOST_COMPLAINTS: usize = 200;

/// `found`, which is in order; of very many the first ones, errors before warnings, and how many there are beyond.
fn fewer(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if found.len() <= MOST_COMPLAINTS {
        return found;
    }
    found.sort_by_key(|d| d.severity != Severity::Error);
    let beyond = found.split_off(MOST_COMPLAINTS);
    if let Some(last) = found.last_mut() {
        last.message = format!("{} (and {} more)", last.message, beyond.len());
    }
    found.sort_by_key(|d| (d.span().is_none(), d.span(), d.code));
    found
}

/// One load: the pipeline and those that it extends and calls.
pub(super) struct Loader<'a> {
    pub(super) texts: Texts<'a>,
    pub(super) catalog: &'a Catalog,
    pub(super) found: Vec<Diagnostic>,
    /// Work that may still be done to evaluate what is known before a run.
    work: Cell<u64>,
    planned: HashMap<String, Option<Arc<Plan>>>,
    /// Pipelines that are being planned, outermost first.
    open: Vec<String>,
    /// Changes from the command line.
    sets: Vec<Setting>,
    /// What each pipeline says, where that is wanted.
    merged: Option<Vec<Merged>>,
}

impl<'a> Loader<'a> {
    fn new(door: &'a dyn Sources, catalog: &'a Catalog) -> Self {
        Self {
            texts: Texts::new(door),
            catalog,
            found: Vec::new(),
            work: Cell::new(WORK),
            planned: HashMap::new(),
            open: Vec::new(),
            sets: Vec::new(),
            merged: None,
        }
    }

    fn set(&mut self, sets: &[String]) {
        for text in sets {
            match setting(text, &self.texts) {
                Ok(setting) => self.sets.push(setting),
                Err(complaint) => self.found.push(complaint),
            }
        }
    }

    fn finish(self, name: &str, sets: &[String], plan: Option<Arc<Plan>>) -> Loaded {
        let Self { texts, mut found, planned, sets: settings, .. } = self;
        let loaded: Vec<&str> = planned.keys().map(|path| name_of(path)).chain([name_of(name)]).collect();
        found.extend(settings.iter().filter_map(|setting| setting.reached_nothing(&loaded)));
        drop(planned);
        let (sources, files) = texts.finish(&mut found);
        found.sort_by_key(|d| (d.span().is_none(), d.span(), d.code));
        found.dedup();
        let found = fewer(found);
        let bundle = Bundle { main: name.to_owned(), files, sets: sets.to_vec() };
        let sound = found.iter().all(|d| d.severity != Severity::Error);
        let plan = plan.filter(|_| sound).map(|plan| match Arc::try_unwrap(plan) {
            Ok(plan) => Arc::new(Plan { digest: bundle.digest(), ..plan }),
            Err(shared) => shared,
        });
        Loaded { plan, diagnostics: found, sources, bundle }
    }

    /// The value of `expr` in `scope`, if it can be found with little work: a mistake in it is better found before the run,
    /// and anything else is left to the run.
    pub(super) fn constant(&self, expr: &Expr, scope: &Scope) -> Option<Data> {
        let given = self.work.get().min(WORK_EACH);
        let allowance = Arc::new(Allowance::new(given));
        let value = expr.eval(&scope.clone().within(Arc::clone(&allowance))).ok();
        self.work.set(self.work.get() - (given - allowance.left()));
        value
    }

    /// Plans the pipeline that `at` calls.
    pub(super) fn callee(&mut self, name: &str, at: Span) -> Option<Arc<Plan>> {
        let path = path_of(name);
        if let Some(plan) = self.planned.get(&path) {
            return plan.clone();
        }
        if let Some(from) = self.open.iter().position(|open| *open == path) {
            let circle: Vec<&str> =
                self.open[from..].iter().chain([&path]).map(|path| name_of(path)).collect();
            self.found.push(
                Diagnostic::new(
                    Code::CallCycle,
                    format!("pipelines call each other: {}", circle.join(" → ")),
                )
                .at(at, "this closes the circle")
                .help("use `loop` for repetition"),
            );
            return None;
        }
        let plan = self.pipeline(name, Some(at));
        self.planned.insert(path, plan.clone());
        plan
    }

    fn pipeline(&mut self, name: &str, at: Option<Span>) -> Option<Arc<Plan>> {
        let path = path_of(name);
        let mut laid = self.laid(name, at)?;
        self.settings(&path, at.is_none(), &mut laid);
        let Laid { mut root, top, chain, replaced } = laid;
        let given = defaults::apply(&mut root, self.catalog, &mut self.found);
        if let Some(merged) = &mut self.merged {
            merged.push(Merged { path: path.clone(), value: root.to_value() });
        }
        let mut origins: HashMap<Span, Origin> = HashMap::new();
        for (step, defaults) in given {
            origins.entry(step).or_default().defaults = defaults;
        }
        for replaced in replaced {
            let Some(step) = step_at(&root, &replaced.path) else { continue };
            self.found.push(replaced_verb(&replaced));
            origins.entry(step).or_default().replaced = Some(replaced.old);
        }
        let pipeline = Pipeline::read(root, top, &mut self.found);
        self.open.push(path);
        let digest = Digest::of(chain.join("\n"));
        let plan = resolve(self, pipeline, name_of(name), top, (digest, origins));
        self.open.pop();
        plan.map(Arc::new)
    }

    /// Lays the settings for the pipeline at `path` over it.
    fn settings(&mut self, path: &str, is_main: bool, laid: &mut Laid) {
        for setting in self.sets.iter_mut().filter(|setting| setting.is_for(path, is_main)) {
            setting.used = true;
            laid.chain.push(format!("--set {}", setting.text));
            reaches(&laid.root, &setting.node, self.catalog, &mut self.found);
            let (found, replaced) = (&mut self.found, &mut laid.replaced);
            Laying { catalog: self.catalog, found, replaced }.lay(&mut laid.root, setting.node.clone());
        }
    }

    /// The pipeline `name` laid over those that it extends.
    fn laid(&mut self, name: &str, at: Option<Span>) -> Option<Laid> {
        let (mut files, mut chain) = (Vec::new(), Vec::new());
        let mut next = self.open_file(name, None, at)?;
        let top = self.texts.with(|sources| {
            let id = next.1;
            sources.span(id, 0..first_line(&sources.get(id).text))
        });
        loop {
            let (path, id) = next;
            chain.push(format!("{path} {}", Digest::of(self.texts.text(id).as_bytes())));
            let node = match self.texts.with(|sources| Node::parse(sources, id)) {
                Ok(node) => node,
                Err(complaints) => {
                    self.found.extend(complaints);
                    return None;
                }
            };
            let base = self.base(&node);
            files.push((path, node));
            let Some(base) = base else { break };
            if files.len() >= MOST_FILES {
                let message = format!("more than {MOST_FILES} files extend each other");
                let complaint = Diagnostic::new(Code::ExtendsCycle, message).at(base.span, "");
                self.found.push(complaint.help("put what they have in common into fewer files"));
                return None;
            }
            let own = files.last()?.0.clone();
            next = self.open_file(&base.text, Some(&own), Some(base.span))?;
            if files.iter().any(|(path, _)| *path == next.0) {
                self.found.push(circle(&base, name_of(&own)));
                return None;
            }
        }
        let mut root = Node { span: top.part(0..0), value: Raw::Table(Table::new()) };
        let mut replaced = Vec::new();
        for (_, node) in files.into_iter().rev() {
            let (found, replaced) = (&mut self.found, &mut replaced);
            Laying { catalog: self.catalog, found, replaced }.file(&mut root, node);
        }
        Some(Laid { root, top, chain, replaced })
    }

    /// The path and the text of the pipeline `name`. If `own` is the path of the file that extends it and has the same name,
    /// it is the one that this file hides.
    fn open_file(&mut self, name: &str, own: Option<&str>, at: Option<Span>) -> Option<(String, SourceId)> {
        let path = path_of(name);
        let hidden = own.filter(|own| library_path(own) == path);
        let found = match hidden {
            Some(own) => self.texts.below(own),
            None => self.texts.read(&path).map(|id| id.map(|id| (path.clone(), id))),
        };
        let complaint = match found {
            Ok(Some(found)) => return Some(found),
            Ok(None) => match (hidden, at) {
                (Some(_), Some(at)) => hides_nothing(name, at),
                _ => self.texts.missing_pipeline(name, &path, at, own.is_some()),
            },
            Err(complaint) => match at {
                Some(span) => complaint.at(span, ""),
                None => complaint,
            },
        };
        self.found.push(complaint);
        None
    }

    fn base(&mut self, node: &Node) -> Option<Name> {
        let entry = node.table()?.get("extends")?;
        let Some(text) = entry.node.text() else {
            self.found.push(
                Diagnostic::new(
                    Code::WrongType,
                    format!("`extends` must be text, this is {}", entry.node.noun()),
                )
                .at(entry.node.span, "expected text")
                .help("name one pipeline: `extends = \"factory\"`"),
            );
            return None;
        };
        Some(Name { text: text.text, span: text.span })
    }
}

/// Where the pipeline `name` is looked for.
pub fn path_of(name: &str) -> String {
    let file = std::path::Path::new(name).extension().is_some_and(|extension| extension == "toml");
    match name.strip_prefix(BUILTIN) {
        _ if file => name.to_owned(),
        Some(name) => format!("{BUILTIN}pipelines/{name}.toml"),
        None => format!("pipelines/{name}.toml"),
    }
}

/// The most files that extend each other.
const MOST_FILES: usize = 64;

/// Files that are laid over each other.
struct Laid {
    root: Node,
    /// Where to point at if something is missing.
    top: Span,
    /// The paths of the files and the digests of their texts.
    chain: Vec<String>,
    replaced: Vec<Replaced>,
}

/// The place of the name of the step at `path`, if there still is one.
fn step_at(root: &Node, path: &[String]) -> Option<Span> {
    let mut at = (root, None);
    for name in path {
        let entry = at.0.table()?.get("steps")?.node.table()?.get(name)?;
        at = (&entry.node, Some(entry.key));
    }
    at.1
}

fn replaced_verb(replaced: &Replaced) -> Diagnostic {
    let Replaced { path, old, old_at, new, new_at } = replaced;
    let message = format!("`{new}` replaces the verb `{old}` of the step `{}`", path.join("/"));
    Diagnostic::new(Code::VerbReplaced, message)
        .at(*new_at, "")
        .at(*old_at, "replaced, with the step's `output`")
        .help("everything else of the step stays: `when`, `retry`, `check`, `forbid`")
}

/// `base` is extended by the file called `by`, which it extends itself.
fn circle(base: &Name, by: &str) -> Diagnostic {
    let message = format!("`{}` extends itself by way of `{by}`", base.text);
    Diagnostic::new(Code::ExtendsCycle, message)
        .at(base.span, "this closes the circle")
        .help("let one of them stand on its own")
}

fn hides_nothing(name: &str, at: Span) -> Diagnostic {
    Diagnostic::new(Code::ExtendsCycle, format!("`{name}` extends itself, and there is no other `{name}`"))
        .at(at, "hides no other file")
        .help("a file of the project may extend the one of the same name that is the user's or built in")
}

/// What the pipeline at `path` is called, where it does not say so itself.
fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".toml").unwrap_or(file)
}

fn first_line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}
