use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::bundle::Bundle;
use super::merge::{lay, reaches, setting};
use super::resolve::resolve;
use super::sources::{MemorySources, Sources};
use super::texts::Texts;
use super::types::Plan;
use crate::diag::{self, Code, Diagnostic, Severity, Span};
use crate::expr::{Allowance, Data, Expr, Scope};
use crate::model::{Name, Node, Pipeline};
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

/// Loads the pipeline `name` (a name, or a path that ends in `.toml`), with `sets` (`PATH=VALUE`) laid over it.
pub fn load(name: &str, door: &dyn Sources, catalog: &Catalog, sets: &[String]) -> Loaded {
    let mut loader = Loader::new(door, catalog);
    let plan = loader.pipeline(name, sets, None);
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
    loader.pipeline(name, &[], None);
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
            merged: None,
        }
    }

    fn finish(self, name: &str, sets: &[String], plan: Option<Arc<Plan>>) -> Loaded {
        let Self { texts, mut found, planned, .. } = self;
        drop(planned);
        let (sources, files) = texts.finish();
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
        let plan = self.pipeline(name, &[], Some(at));
        self.planned.insert(path, plan.clone());
        plan
    }

    fn pipeline(&mut self, name: &str, sets: &[String], at: Option<Span>) -> Option<Arc<Plan>> {
        let path = path_of(name);
        let mut chain = Vec::new();
        let (mut root, top) = self.laid(name, at, &mut chain)?;
        for text in sets {
            match setting(text, &self.texts) {
                Ok(over) => {
                    reaches(&root, &over, &mut self.found);
                    lay(&mut root, over, &mut self.found);
                }
                Err(complaint) => self.found.push(complaint),
            }
        }
        if let Some(merged) = &mut self.merged {
            merged.push(Merged { path: path.clone(), value: root.to_value() });
        }
        let pipeline = Pipeline::read(root, top, &mut self.found);
        self.open.push(path);
        let digest = Digest::of(chain.join("\n"));
        let plan = resolve(self, pipeline, name_of(name), top, digest);
        self.open.pop();
        plan.map(Arc::new)
    }

    /// The tree of the pipeline `name` laid over those that it extends, and the place to point at where
    /// something is missing from it.
    fn laid(&mut self, name: &str, at: Option<Span>, chain: &mut Vec<String>) -> Option<(Node, Span)> {
        let path = path_of(name);
        if chain.len() > 64 {
            return None;
        }
        let id = match self.texts.read(&path) {
            Ok(Some(id)) => id,
            Ok(None) => {
                self.found.push(self.texts.missing_pipeline(name, &path, at, !chain.is_empty()));
                return None;
            }
            Err(complaint) => {
                self.found.push(match at {
                    Some(span) => complaint.at(span, ""),
                    None => complaint,
                });
                return None;
            }
        };
        let parsed = self.texts.with(|sources| Node::parse(sources, id));
        let top = self.texts.with(|sources| sources.span(id, 0..first_line(&sources.get(id).text)));
        let node = match parsed {
            Ok(node) => node,
            Err(complaints) => {
                self.found.extend(complaints);
                return None;
            }
        };
        chain.push(format!("{path} {}", Digest::of(self.texts.text(id).as_bytes())));
        let Some(base) = self.base(&node) else { return Some((node, top)) };
        let before = format!("{} ", path_of(&base.text));
        if chain.iter().any(|link| link.starts_with(&before)) {
            self.found.push(
                Diagnostic::new(
                    Code::ExtendsCycle,
                    format!("`{name}` extends itself by way of `{}`", base.text),
                )
                .at(base.span, "this closes the circle")
                .help("let one of them stand on its own"),
            );
            return None;
        }
        let (mut root, _) = self.laid(&base.text, Some(base.span), chain)?;
        lay(&mut root, node, &mut self.found);
        Some((root, top))
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
    if file { name.to_owned() } else { format!("pipelines/{name}.toml") }
}

/// What the pipeline at `path` is called, where it does not say so itself.
fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".toml").unwrap_or(file)
}

fn first_line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}
