use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::expanded::Expansion;
use super::sources::{BUILTIN, Found, Layer, Sources, USERS, Unreadable, library_path};
use crate::diag::{self, Code, Diagnostic, SourceId, Span, nearest};
use crate::expr::Fault;
use crate::model::{Parts, Text};

/// Where files lie that are there to be extended by pipelines and are none by themselves.
const SHARED: [&str; 2] = ["pipelines/functions/", "pipelines/shared/"];

/// The texts that one load reads: each is asked for once, given a place for diagnostics, and kept for the bundle.
pub(super) struct Texts<'a> {
    door: &'a dyn Sources,
    pub(super) read: RefCell<Read>,
}

#[derive(Default)]
pub(super) struct Read {
    pub(super) sources: diag::SourceMap,
    ids: HashMap<String, Option<SourceId>>,
    files: BTreeMap<String, String>,
    /// By path: the text of the file with its blocks in place; missing if it has mistakes.
    pub(super) expanded: HashMap<String, SourceId>,
    /// Where the pieces of texts come from that are put together from several files.
    pub(super) expansions: HashMap<SourceId, Expansion>,
    /// What is wrong with blocks.
    pub(super) complaints: Vec<Diagnostic>,
    /// The parts of the text in which a place was last asked for: most texts have many.
    parts: Option<Parts>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(door: &'a dyn Sources) -> Self {
        Self { door, read: RefCell::default() }
    }

    /// The text at `path`, `None` where there is none.
    pub(super) fn read(&self, path: &str) -> Result<Option<SourceId>, Diagnostic> {
        if let Some(id) = self.read.borrow().ids.get(path) {
            return Ok(*id);
        }
        let found = self.door.find(path).map_err(|e| unreadable(&e))?;
        Ok(self.keep(path, found))
    }

    fn keep(&self, path: &str, found: Option<Found>) -> Option<SourceId> {
        let mut read = self.read.borrow_mut();
        let id = found.map(|found| {
            read.files.insert(path.to_owned(), found.text.to_string());
            read.sources.add(found.name, found.text)
        });
        read.ids.insert(path.to_owned(), id);
        id
    }

    /// The text that the one at `path` hides, and the path that is its own.
    pub(super) fn below(&self, path: &str) -> Result<Option<(String, SourceId)>, Diagnostic> {
        let library = library_path(path);
        let layers = self.door.layers(library).map_err(|e| unreadable(&e))?;
        let own = |(place, found): (usize, &Found)| match found.layer {
            _ if place == 0 => library.to_owned(),
            Layer::User => format!("{USERS}{library}"),
            _ => format!("{BUILTIN}{library}"),
        };
        let paths: Vec<String> = layers.iter().enumerate().map(own).collect();
        let place = if path.starts_with(BUILTIN) {
            layers.len()
        } else {
            paths.iter().position(|own| own == path).map_or(layers.len(), |at| at + 1)
        };
        let Some((path, found)) = paths.into_iter().zip(layers).nth(place) else { return Ok(None) };
        let known = self.read.borrow().ids.get(&path).copied().flatten();
        let id = known.or_else(|| self.keep(&path, Some(found)));
        Ok(id.map(|id| (path, id)))
    }

    pub(super) fn text(&self, id: SourceId) -> Arc<str> {
        self.read.borrow().sources.get(id).text.clone()
    }

    /// Adds a text that no file holds.
    pub(super) fn add(&self, name: &str, text: String) -> SourceId {
        self.read.borrow_mut().sources.add(name, text)
    }

    pub(super) fn with<T>(&self, view: impl FnOnce(&diag::SourceMap) -> T) -> T {
        view(&self.read.borrow().sources)
    }

    /// The whole of the text named by `id`, as a string of the pipeline.
    pub(super) fn whole(&self, id: SourceId) -> Text {
        let text = self.text(id);
        let span = self.with(|sources| sources.span(id, 0..text.len()));
        Text { text: text.to_string(), span, quoted: false }
    }

    /// The place of bytes `range` of `text`, or of the include `file` in it.
    pub(super) fn place(&self, text: &Text, file: Option<&Arc<str>>, range: &std::ops::Range<usize>) -> Span {
        let mut read = self.read.borrow_mut();
        let read = &mut *read;
        let included = file.and_then(|file| {
            read.expanded
                .get(file.as_ref())
                .copied()
                .or_else(|| read.ids.get(file.as_ref()).copied().flatten())
        });
        if let Some(id) = included {
            return read.sources.span(id, range.clone());
        }
        if read.parts.as_ref().is_none_or(|parts| parts.span != text.span) {
            read.parts = None;
        }
        let sources = &read.sources;
        read.parts.get_or_insert_with(|| Parts::of(text, sources)).place(range)
    }

    pub(super) fn fault(&self, text: &Text, fault: &Fault) -> Span {
        self.place(text, fault.file.as_ref(), &fault.range)
    }

    /// The complaint that `path` is not there, with the nearest path that is.
    pub(super) fn missing(&self, message: String, path: &str, at: Option<Span>) -> Diagnostic {
        let rest = path.strip_prefix(BUILTIN);
        let folder = rest.unwrap_or(path).split('/').next().unwrap_or_default();
        let known = self.door.list(&match rest {
            Some(_) => format!("{BUILTIN}{folder}"),
            None => folder.to_owned(),
        });
        let near = nearest(path, known.iter().map(String::as_str));
        complaint(Code::TextMissing, message, path, at, near)
    }

    /// The complaint that there is no pipeline `name`, with the nearest name that there is; names of what is shared only where
    /// something is to be extended.
    pub(super) fn missing_pipeline(
        &self,
        name: &str,
        path: &str,
        at: Option<Span>,
        extends: bool,
    ) -> Diagnostic {
        let builtin = path.starts_with(BUILTIN);
        let listed = self.door.list(if builtin { "builtin/pipelines" } else { "pipelines" });
        let shared = |path: &str| SHARED.iter().any(|folder| path.starts_with(folder));
        let known = listed.iter().filter(|path| extends || builtin || !shared(path));
        let front = if builtin { BUILTIN } else { "" };
        let known: Vec<String> = known
            .flat_map(|path| [format!("{front}{}", name_of(path).unwrap_or(path)), path.clone()])
            .collect();
        let near = nearest(name, known.iter().map(String::as_str));
        // What is shared has a path for a name.
        let help =
            if (extends || builtin) && near.is_some() { None } else { self.instead_of_path(name, &listed) };
        if let Some(help) = help {
            let missing = Diagnostic::new(Code::PipelineMissing, format!("there is no pipeline `{name}`"));
            return match at {
                Some(span) => missing.at(span, "not found"),
                None => missing,
            }
            .help(help);
        }
        complaint(Code::PipelineMissing, format!("there is no pipeline `{name}`"), path, at, near)
    }

    /// What to write in place of a path at which there is no pipeline.
    fn instead_of_path(&self, name: &str, listed: &[String]) -> Option<String> {
        let plain = name.strip_suffix(".toml").unwrap_or(name);
        if !plain.contains(['/', '\\']) && plain == name {
            return None;
        }
        let file = format!("{plain}.toml");
        if plain == name && matches!(self.door.find(&file), Ok(Some(_))) {
            return Some(format!("the path of a pipeline ends in `.toml`: `{file}`"));
        }
        let last = plain.rsplit(['/', '\\']).next().unwrap_or_default();
        let known: Vec<&str> = listed.iter().filter_map(|path| name_of(path)).collect();
        if known.contains(&last) {
            return Some(format!("name the pipeline without a path: `{last}`"));
        }
        Some(match nearest(last, known) {
            Some(near) => format!("did you mean `{near}`? A pipeline is named without a path"),
            None => {
                "give the name of a pipeline, such as `factory`, or the path of a file that ends in `.toml`"
                    .to_owned()
            }
        })
    }

    /// Everything that was read, with what is `found` wrong, each place where its author wrote it.
    pub(super) fn finish(self, found: &mut Vec<Diagnostic>) -> (diag::SourceMap, BTreeMap<String, String>) {
        let mut read = self.read.into_inner();
        found.append(&mut read.complaints);
        for label in found.iter_mut().flat_map(|found| &mut found.labels) {
            if let Some(expansion) = read.expansions.get(&label.span.source) {
                label.span = expansion.place(label.span, &read.sources);
            }
        }
        (read.sources, read.files)
    }
}

/// What a pipeline of the library is called.
fn name_of(path: &str) -> Option<&str> {
    library_path(path).strip_prefix("pipelines/")?.strip_suffix(".toml")
}

fn unreadable(error: &Unreadable) -> Diagnostic {
    Diagnostic::new(Code::Unreadable, format!("cannot read {}: {}", error.name, error.reason))
        .help("check the path and its permissions")
}

fn complaint(code: Code, message: String, path: &str, at: Option<Span>, near: Option<&str>) -> Diagnostic {
    let complaint = Diagnostic::new(code, message);
    let complaint = match at {
        Some(span) => complaint.at(span, "not found"),
        None => complaint,
    };
    match near {
        Some(near) => complaint.help(format!("did you mean `{near}`?")),
        None => complaint.help(format!("`atoll which {path}` says where it is looked for")),
    }
}
