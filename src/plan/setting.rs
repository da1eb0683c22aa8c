//! Changes of a pipeline from the command line: `--set PATH=VALUE`, or `--set PIPELINE:PATH=VALUE` for one that is called.

use super::load::path_of;
use super::texts::Texts;
use crate::diag::{Code, Diagnostic};
use crate::model::{Entry, Node, Raw, Table};
use crate::verb::Catalog;

/// One `--set`.
pub(super) struct Setting {
    /// What was typed.
    pub text: String,
    /// The name of the pipeline that it changes, where it names one.
    pub pipeline: Option<String>,
    /// What it says, written like a file.
    pub node: Node,
    /// Whether its pipeline was loaded.
    pub used: bool,
}

impl Setting {
    /// Whether it changes the pipeline at `path`; `is_main` says that this is the one that is run.
    pub(super) fn is_for(&self, path: &str, is_main: bool) -> bool {
        match &self.pipeline {
            Some(name) => path_of(name) == path,
            None => is_main,
        }
    }

    /// That there is no pipeline of the name among those that were loaded.
    pub(super) fn reached_nothing(&self, loaded: &[&str]) -> Option<Diagnostic> {
        let name = self.pipeline.as_ref().filter(|_| !self.used)?;
        let message = format!("`--set` reaches nothing: no pipeline `{name}` takes part");
        Some(
            Diagnostic::new(Code::BadSetting, message)
                .at(self.node.span, "")
                .suggest(name, loaded.iter().copied()),
        )
    }
}

/// Reads `PATH=VALUE` or `PIPELINE:PATH=VALUE`; a value that is no TOML is text.
pub(super) fn setting(text: &str, texts: &Texts<'_>) -> Result<Setting, Diagnostic> {
    let bad = |message: String| {
        Diagnostic::new(Code::BadSetting, message).help(
            "write `--set steps.NAME.timeout=5m`: a dotted path, `=`, a value; for a pipeline that is called, put its name and `:` in front",
        )
    };
    let Some((path, value)) = text.split_once('=') else {
        return Err(bad(format!("`--set {text}` has no `=`")));
    };
    // A path has a colon in quotes only.
    let named = path.split_once(':').filter(|(name, _)| !name.contains(['"', '\'']));
    let (pipeline, inner) = match named {
        Some((name, inner)) => (Some(name.trim().to_owned()), inner),
        None => (None, path),
    };
    // What is typed stays in place, so that columns are those of the whole text.
    let blank = " ".repeat(path.len() - inner.len());
    let parse = |line: String| {
        let id = texts.add("--set", line);
        texts.with(|sources| {
            let shown = sources.span(id, blank.len()..sources.get(id).text.len());
            Node::parse(sources, id).map(|node| Node { span: shown, ..node })
        })
    };
    let quoted = serde_json::Value::from(value.trim()).to_string();
    let node =
        parse(format!("{blank}{inner}={value}")).or_else(|_| parse(format!("{blank}{inner}={quoted}")));
    match node {
        Ok(node) => Ok(Setting { text: text.to_owned(), pipeline, node, used: false }),
        Err(_) => Err(bad(format!("`{}` is no path of a pipeline", inner.trim()))),
    }
}

/// Complains where the setting `over` names something that the pipeline `base` does not have: it would make a new one that
/// nothing reads.
pub(super) fn reaches(base: &Node, over: &Node, catalog: &Catalog, found: &mut Vec<Diagnostic>) {
    let mut reach = Reach { found };
    let (Some(base), Some(over)) = (base.table(), over.table()) else { return };
    reach.steps(base, over);
    reach.named((base, over), ("inputs", "input"), Code::UnknownInput, &[]);
    reach.named((base, over), ("functions", "function"), Code::UnknownName, &[]);
    reach.entries(base, over, "exits", "exit");
    reach.entries(base, over, "refuse", "refusal");
    let lanes: Vec<&str> = catalog.lane_names().collect();
    reach.named((base, over), ("lanes", "lane"), Code::UnknownLane, &lanes);
    let verbs: Vec<&str> = catalog.verbs().map(|verb| verb.name()).chain(super::steps::CONTROL).collect();
    reach.named((base, over), ("defaults", "default"), Code::UnknownName, &verbs);
}

struct Reach<'a> {
    found: &'a mut Vec<Diagnostic>,
}

impl Reach<'_> {
    fn steps(&mut self, base: &Table, over: &Table) {
        self.named((base, over), ("steps", "step"), Code::UnknownStep, &[]);
        for (base, over) in both(base, over, "steps") {
            self.steps(base, over);
            for (key, sections) in [
                (
                    "loop",
                    [("state", "state"), ("let", "name in `let`"), ("next", "state in `next`")].as_slice(),
                ),
                ("compute", &[("init", "state"), ("let", "name in `let`"), ("next", "state in `next`")]),
            ] {
                let Some((base, over)) = pair(base, over, key) else { continue };
                for (section, noun) in sections {
                    self.named((base, over), (section, noun), Code::UnknownState, &[]);
                }
                self.entries(base, over, "exits", "exit");
                self.entries(base, over, "rules", "rule");
            }
            if base.contains_key("set") {
                self.named((base, over), ("set", "value"), Code::UnknownName, &[]);
            }
            self.named((base, over), ("let", "name in `let`"), Code::UnknownName, &[]);
        }
    }

    /// The entries of the ordered table `section`: one that is not there yet needs a condition to be a new one.
    fn entries(&mut self, base: &Table, over: &Table, section: &str, noun: &str) {
        let Some(entries) = over.get(section).and_then(|entry| entry.node.table()) else { return };
        let known = base.get(section).and_then(|entry| entry.node.table());
        let known = || known.into_iter().flat_map(Table::keys).map(String::as_str);
        for (name, Entry { key, node }) in entries {
            let changes = node.table().is_some_and(|entry| !entry.contains_key("when"));
            if changes && !known().any(|known| known == name) {
                let message = format!("`--set` reaches nothing: there is no {noun} `{name}`");
                let complaint = Diagnostic::new(Code::UnknownName, message).at(*key, "unknown");
                self.found.push(complaint.suggest(name, known()));
            }
        }
    }

    /// The entries of the table `section`, each of which has to be there already or among `more`.
    fn named(
        &mut self,
        (base, over): (&Table, &Table),
        (section, noun): (&str, &str),
        code: Code,
        more: &[&str],
    ) {
        let Some(entries) = over.get(section).and_then(|entry| entry.node.table()) else { return };
        let known = base.get(section).and_then(|entry| entry.node.table());
        let known =
            || known.into_iter().flat_map(Table::keys).map(String::as_str).chain(more.iter().copied());
        for (name, Entry { key, node }) in entries {
            // `NAME = false` removes one: that there is none is said elsewhere.
            let removes = section == "steps" && matches!(node.value, Raw::Bool(false));
            if !removes && !known().any(|known| known == name) {
                let message = format!("`--set` reaches nothing: there is no {noun} `{name}`");
                self.found.push(Diagnostic::new(code, message).at(*key, "unknown").suggest(name, known()));
            }
        }
    }
}

/// The tables under `key` of both.
fn pair<'a>(base: &'a Table, over: &'a Table, key: &str) -> Option<(&'a Table, &'a Table)> {
    Some((base.get(key)?.node.table()?, over.get(key)?.node.table()?))
}

/// The tables that both have by the same name in the table `section`.
fn both<'a>(base: &'a Table, over: &'a Table, section: &str) -> Vec<(&'a Table, &'a Table)> {
    let Some((base, over)) = pair(base, over, section) else { return Vec::new() };
    over.keys().filter_map(|name| pair(base, over, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::MemorySources;
    use serde_json::json;

    #[test]
    fn settings_are_toml_or_text() {
        let door = MemorySources::default();
        let texts = Texts::new(&door);
        let value = |text| setting(text, &texts).unwrap().node.to_value();
        assert_eq!(value("steps.a.loop.max=20"), json!({"steps": {"a": {"loop": {"max": 20}}}}));
        assert_eq!(
            value("steps.a.when=not inputs.fast"),
            json!({"steps": {"a": {"when": "not inputs.fast"}}})
        );
        assert_eq!(value("x=[1, 2]"), json!({"x": [1, 2]}));
        assert!(setting("steps.a", &texts).is_err());
        assert!(setting("a b=1", &texts).is_err());
    }

    #[test]
    fn a_setting_may_name_the_pipeline_that_it_changes() {
        let door = MemorySources::default();
        let texts = Texts::new(&door);
        let read = |text| setting(text, &texts).unwrap();
        let named = read("builtin/judge:steps.a.when=x: y");
        assert_eq!(named.pipeline.as_deref(), Some("builtin/judge"));
        assert_eq!(named.node.to_value(), json!({"steps": {"a": {"when": "x: y"}}}));
        assert!(named.is_for("builtin/pipelines/judge.toml", false));
        assert!(!named.is_for("pipelines/judge.toml", true));
        assert_eq!(read("x=a:b").pipeline, None);
        assert_eq!(read("x.'a:b'=1").pipeline, None);
        assert!(setting("judge:=1", &texts).is_err());
    }
}
