//! How a file is laid over the one that it extends: tables are merged by name, anything else is replaced.

use super::entries::{self, Kind};
use super::steps::CONTROL;
use crate::diag::{Code, Diagnostic, Span, nearest};
use crate::model::{Entry, Node, Raw, Step, Table};
use crate::verb::Catalog;

/// The verbs that have a body.
const WITH_BODY: [&str; 3] = ["loop", "each", "hold"];

/// A step whose verb a later file has replaced.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    /// The names from the outermost step to it.
    pub path: Vec<String>,
    /// The verb that it had.
    pub old: String,
    /// Where that was written.
    pub old_at: Span,
    /// The verb that it has.
    pub new: String,
    /// Where that is written.
    pub new_at: Span,
}

/// Lays files over each other.
pub(super) struct Laying<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) found: &'a mut Vec<Diagnostic>,
    pub(super) replaced: &'a mut Vec<Replaced>,
}

impl Laying<'_> {
    /// Lays the file `over` over `base`. A name is not inherited: a file is called what it is called.
    pub(super) fn file(&mut self, base: &mut Node, over: Node) {
        if let Raw::Table(table) = &mut base.value {
            table.shift_remove("name");
        }
        self.lay(base, over);
    }

    /// Lays `over`, which is written like a file, over `base`.
    pub(super) fn lay(&mut self, base: &mut Node, over: Node) {
        let Raw::Table(over) = over.value else { return *base = over };
        for (key, entry) in over {
            match key.as_str() {
                "steps" => within(base, key, entry, |base, over| self.steps(base, over, &mut Vec::new())),
                "exits" => within(base, key, entry, |base, over| self.entries(base, over, Kind::Exit)),
                "refuse" => within(base, key, entry, |base, over| self.entries(base, over, Kind::Refusal)),
                _ => within(base, key, entry, Node::merge),
            }
        }
    }

    fn entries(&mut self, base: &mut Node, over: Node, kind: Kind) {
        entries::lay(base, over, kind, self.found);
    }

    fn steps(&mut self, base: &mut Node, over: Node, path: &mut Vec<String>) {
        let Raw::Table(over) = over.value else { return *base = over };
        for (name, entry) in over {
            if matches!(entry.node.value, Raw::Bool(false)) {
                remove(base, &name, entry.key, "step", self.found);
                continue;
            }
            path.push(name.clone());
            within(base, name, entry, |base, over| self.step(base, over, path));
            path.pop();
        }
    }

    fn step(&mut self, base: &mut Node, over: Node, path: &mut Vec<String>) {
        let Raw::Table(over) = over.value else { return *base = over };
        self.replace_verb(base, &over, path);
        for (key, entry) in over {
            match key.as_str() {
                "steps" => within(base, key, entry, |base, over| self.steps(base, over, path)),
                "loop" => within(base, key, entry, |base, over| self.rounds(base, over)),
                _ => within(base, key, entry, Node::merge),
            }
        }
    }

    fn rounds(&mut self, base: &mut Node, over: Node) {
        let Raw::Table(over) = over.value else { return *base = over };
        for (key, entry) in over {
            match key.as_str() {
                "exits" => within(base, key, entry, |base, over| self.entries(base, over, Kind::LoopExit)),
                "rules" => within(base, key, entry, |base, over| self.entries(base, over, Kind::Rule)),
                _ => within(base, key, entry, Node::merge),
            }
        }
    }

    /// Removes the verb of `base` if `over` names another one, with what belongs to it: its output, and its body if the
    /// new verb has none.
    fn replace_verb(&mut self, base: &mut Node, over: &Table, path: &[String]) {
        let Raw::Table(base) = &mut base.value else { return };
        let is_verb = |(name, _): &(&String, &Entry)| is_verb(self.catalog, name);
        let Some((new, new_entry)) = over.iter().find(is_verb) else { return };
        let (new, new_at) = (new.clone(), new_entry.key);
        let old: Vec<(String, Span)> =
            base.iter().filter(is_verb).map(|(name, entry)| (name.clone(), entry.key)).collect();
        if old.iter().any(|(name, _)| over.contains_key(name)) {
            return;
        }
        for (name, _) in &old {
            base.shift_remove(name);
        }
        if let Some((old, old_at)) = old.into_iter().next() {
            base.shift_remove("output");
            if !WITH_BODY.contains(&new.as_str()) {
                base.shift_remove("steps");
            }
            self.replaced.push(Replaced { path: path.to_vec(), old, old_at, new, new_at });
        }
    }
}

/// Whether `name`, a key of a step, is a verb.
pub(super) fn is_verb(catalog: &Catalog, name: &str) -> bool {
    !Step::HEADER.contains(&name) && (CONTROL.contains(&name) || catalog.find_verb(name).is_some())
}

/// Lays the value of `entry` over the one that the table `base` has under `key`, or over an empty table.
fn within(base: &mut Node, key: String, entry: Entry, lay: impl FnOnce(&mut Node, Node)) {
    let Entry { key: at, node } = entry;
    if !matches!(base.value, Raw::Table(_)) {
        base.value = Raw::Table(Table::new());
    }
    let Raw::Table(table) = &mut base.value else { return };
    let empty = || Entry { key: at, node: Node { span: node.span, value: Raw::Table(Table::new()) } };
    let old = table.entry(key).or_insert_with(empty);
    old.key = at;
    lay(&mut old.node, node);
}

/// Removes the `noun` called `name` from the table `base`; that there is none is a mistake.
pub(super) fn remove(base: &mut Node, name: &str, at: Span, noun: &str, found: &mut Vec<Diagnostic>) {
    let mut none = Table::new();
    let table = match &mut base.value {
        Raw::Table(table) => table,
        _ => &mut none,
    };
    if table.shift_remove(name).is_some() {
        return;
    }
    let help = match nearest(name, table.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "leave the line out".to_owned(),
    };
    let complaint = Diagnostic::new(Code::NothingToRemove, format!("there is no {noun} `{name}` to remove"));
    found.push(complaint.at(at, "").help(help));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;
    use crate::value::Value;
    use serde_json::json;

    /// The second text laid over the first, and what is said about it.
    fn laid(texts: &[&str]) -> (Value, Vec<String>) {
        let (catalog, mut found, mut replaced) = (Catalog::new(), Vec::new(), Vec::new());
        let mut sources = SourceMap::new();
        let top = sources.add("top", "");
        let mut base = Node { span: sources.span(top, 0..0), value: Raw::Table(Table::new()) };
        for text in texts {
            let id = sources.add("a.toml", *text);
            let node = Node::parse(&sources, id).unwrap();
            let mut laying = Laying { catalog: &catalog, found: &mut found, replaced: &mut replaced };
            laying.file(&mut base, node);
        }
        (base.to_value(), found.into_iter().map(|found| found.message).collect())
    }

    fn names(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn named_entries_keep_their_place_and_what_is_not_mentioned() {
        let base = "[exits]\nconverged = 'a'\nstalled = { when = 'b', code = 4 }\nlost = 'c'\n";
        let over = "[exits]\nfast = 'd'\nstalled = 'e'\nlost = false\nfirst = { when = 'f', before = 'converged' }\n";
        let (value, said) = laid(&[base, over]);
        assert_eq!(said, [""; 0]);
        assert_eq!(names(&value["exits"]), ["first", "converged", "stalled", "fast"]);
        assert_eq!(value["exits"]["stalled"], json!({"when": "e", "code": 4}));
        assert_eq!(value["exits"]["first"], json!({"when": "f"}));
        assert_eq!(value["exits"]["fast"], json!({"when": "d"}));
    }

    #[test]
    fn places_are_taken_from_the_file_that_says_them_and_cannot_contradict_each_other() {
        let base = "exits = { a = '1', b = '2', c = { when = '3', before = 'a' } }\n";
        let (value, said) = laid(&[base, "exits.b.after = 'c'\n"]);
        assert_eq!((names(&value["exits"]), said.len()), (vec!["c", "b", "a"], 0));
        let (_, said) = laid(&[base, "exits = { a.before = 'b', b.before = 'a' }\n"]);
        assert_eq!(said, ["`a` cannot be before `b`: other places contradict that"]);
        let (_, said) = laid(&[base, "exits = { a.before = 'x', b.after = 'b' }\n"]);
        assert_eq!(said, ["there is no exit `x`", "`b` cannot stand after itself"]);
    }

    #[test]
    fn another_verb_replaces_the_verb_with_its_output_and_its_body() {
        let base = "steps.a = { forbid = ['x'], output = 's', each = { over = '[1]' }, steps.b = { when = 'true' } }\n";
        let (value, _) = laid(&[base, "steps.a.call.pipeline = 'p'\n"]);
        assert_eq!(value["steps"]["a"], json!({"forbid": ["x"], "call": {"pipeline": "p"}}));
        let (value, _) = laid(&[base, "steps.a.loop.over = '[1]'\n"]);
        assert_eq!(names(&value["steps"]["a"]), ["forbid", "steps", "loop"]);
    }
}
