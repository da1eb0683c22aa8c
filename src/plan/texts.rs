use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::sources::Sources;
use crate::diag::{self, Code, Diagnostic, SourceId, Span, nearest};
use crate::expr::Fault;
use crate::model::{Parts, Text};

/// Where files lie that are there to be extended by pipelines and are none by themselves.
const SHARED: &str = "pipelines/functions/";

/// The texts that one load reads: each is asked for once, given a place for diagnostics, and kept for the bundle.
pub(super) struct Texts<'a> {
    door: &'a dyn Sources,
    read: RefCell<Read>,
}

#[derive(Default)]
struct Read {
    sources: diag::SourceMap,
    ids: HashMap<String, Option<SourceId>>,
    files: BTreeMap<String, String>,
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
        let found = self.door.find(path).map_err(|e| {
            Diagnostic::new(Code::Unreadable, format!("cannot read {}: {}", e.name, e.reason))
                .help("check the path and its permissions")
        })?;
        let mut read = self.read.borrow_mut();
        let id = found.map(|found| {
            read.files.insert(path.to_owned(), found.text.to_string());
            read.sources.add(found.name, found.text)
        });
        read.ids.insert(path.to_owned(), id);
        Ok(id)
    }

    /// The text of an include.
    pub(super) fn include(&self, path: &str) -> Option<Arc<str>> {
        let id = self.read(path).ok()??;
        Some(self.text(id))
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
        if let Some(id) = file.and_then(|file| read.ids.get(file.as_ref()).copied().flatten()) {
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
        let folder = path.split('/').next().unwrap_or_default();
        let known = self.door.list(folder);
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
        let listed = self.door.list("pipelines");
        let known = listed.iter().map(String::as_str).filter(|path| extends || !path.starts_with(SHARED));
        let near = nearest(name, known.flat_map(|path| name_of(path).into_iter().chain([path])));
        // What is shared has a path for a name.
        let help = if extends && near.is_some() { None } else { self.instead_of_path(name, &listed) };
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

    /// Everything that was read.
    pub(super) fn finish(self) -> (diag::SourceMap, BTreeMap<String, String>) {
        let read = self.read.into_inner();
        (read.sources, read.files)
    }
}

/// What a pipeline of the library is called.
fn name_of(path: &str) -> Option<&str> {
    path.strip_prefix("pipelines/")?.strip_suffix(".toml")
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
