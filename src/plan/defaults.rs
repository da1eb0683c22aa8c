//! `[defaults]`: parts that the steps of a file have where they say nothing else themselves.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::merge::is_verb;
use super::types::FromDefaults;
use crate::diag::{Code, Diagnostic, Span, nearest};
use crate::model::{Entry, Node, Raw, Step, Table};
use crate::verb::Catalog;

/// Keys of a step that cannot be a default: what is allowed on purpose is said where it happens.
const NOT_ALLOWED: [&str; 5] = ["declassify", "reads", "accepts", "steps", "class"];
/// Lists that are joined, so that a step cannot lose an entry by accident.
const JOINED: [&str; 2] = ["forbid", "labels"];
/// How many values all defaults of a pipeline may come to, and how many bytes of text.
const MOST_VALUES: usize = 500_000;
const MOST_BYTES: usize = 64 << 20;

/// By the place of a step's name: what the step has from `[defaults]`.
pub(super) type Given = HashMap<Span, Vec<FromDefaults>>;

/// Takes `[defaults]` out of the pipeline `root`, and puts what it says into the steps.
pub(super) fn apply(root: &mut Node, catalog: &Catalog, found: &mut Vec<Diagnostic>) -> Given {
    let Raw::Table(table) = &mut root.value else { return Given::new() };
    let Some(Entry { key, node }) = table.shift_remove("defaults") else { return Given::new() };
    let Raw::Table(parts) = node.value else {
        let message = format!("`defaults` must be a table, this is {}", node.noun());
        let complaint = Diagnostic::new(Code::WrongType, message).at(node.span, "expected a table");
        found.push(complaint.help("write `[defaults.VERB]` or `[defaults.CLASS]`, with parts of a step"));
        return Given::new();
    };
    let parts = parts.into_iter().filter_map(|(name, entry)| part(name, entry, catalog, found)).collect();
    let mut applying = Applying {
        parts,
        catalog,
        found,
        given: Given::new(),
        used: HashSet::new(),
        left: (MOST_VALUES, MOST_BYTES),
    };
    if let Some(Raw::Table(steps)) = table.get_mut("steps").map(|entry| &mut entry.node.value) {
        applying.steps(steps);
    }
    if applying.left.0 == 0 || applying.left.1 == 0 {
        let message = "all defaults together come to too much";
        let complaint = Diagnostic::new(Code::BadRange, message).at(key, "");
        applying.found.push(complaint.help("put long texts into files, and name these"));
    }
    applying.unused();
    applying.given
}

/// The entry `name` of `[defaults]`, without what cannot stand in it.
fn part(
    name: String,
    entry: Entry,
    catalog: &Catalog,
    found: &mut Vec<Diagnostic>,
) -> Option<(String, Entry)> {
    let Entry { key: at, mut node } = entry;
    let Raw::Table(table) = &mut node.value else {
        let message = format!("`defaults.{name}` must be a table, this is {}", node.noun());
        let complaint = Diagnostic::new(Code::WrongType, message).at(node.span, "expected a table");
        found.push(complaint.help("write it like a step, e.g. `retry.max = 3`"));
        return None;
    };
    let of_verb = is_verb(catalog, &name);
    table.retain(|key, entry| {
        let complaint = if NOT_ALLOWED.contains(&key.as_str()) {
            Diagnostic::new(Code::UnknownKey, format!("`{key}` cannot be a default"))
                .help("write it in each step that it is meant for")
        } else if is_verb(catalog, key) {
            if of_verb && *key != name {
                let message = format!("`{key}` has no effect on steps with the verb `{name}`");
                found.push(
                    Diagnostic::new(Code::UnusedDefault, message)
                        .at(entry.key, "another verb")
                        .help(format!("put it into `[defaults.{key}]`")),
                );
            }
            return true;
        } else if Step::HEADER.contains(&key.as_str()) || key == "labels" {
            return true;
        } else {
            unknown(key, &name, of_verb.then_some(catalog))
        };
        found.push(complaint.at(entry.key, ""));
        false
    });
    Some((name, Entry { key: at, node }))
}

/// What is said of a key that is neither a word of a step's header nor a verb. `catalog` is given in the defaults of a verb.
fn unknown(key: &str, name: &str, catalog: Option<&Catalog>) -> Diagnostic {
    let complaint = Diagnostic::new(Code::UnknownKey, format!("a step has no key `{key}`"));
    let schema = catalog.and_then(|catalog| catalog.find_verb(name)).map(|verb| verb.with_schema());
    let known = schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
    match known {
        Some(known) if known.contains_key(key) => complaint.help(format!("write `{name}.{key}`")),
        _ => complaint.suggest(key, Step::HEADER),
    }
}

struct Applying<'a> {
    parts: IndexMap<String, Entry>,
    catalog: &'a Catalog,
    found: &'a mut Vec<Diagnostic>,
    given: Given,
    /// Classes that a step has.
    used: HashSet<String>,
    /// Values and bytes that may still be given.
    left: (usize, usize),
}

impl Applying<'_> {
    fn steps(&mut self, steps: &mut Table) {
        for entry in steps.values_mut() {
            let Raw::Table(step) = &mut entry.node.value else { continue };
            self.step(step, entry.key);
            if let Some(Raw::Table(inner)) = step.get_mut("steps").map(|entry| &mut entry.node.value) {
                self.steps(inner);
            }
        }
    }

    /// Gives a step what it has from its class, then what it has from its verb and still lacks.
    fn step(&mut self, step: &mut Table, at: Span) {
        let verbs: Vec<String> = step.keys().filter(|key| is_verb(self.catalog, key)).cloned().collect();
        let mut names: Vec<String> = self.class(step).into_iter().collect();
        names.extend(verbs.first().filter(|_| verbs.len() == 1).cloned());
        let mut given = Vec::new();
        for name in names {
            let Some(parts) = self.parts.get(&name).and_then(|entry| entry.node.table()) else { continue };
            for (key, entry) in parts {
                if is_verb(self.catalog, key) && !verbs.contains(key) {
                    continue;
                }
                let table = format!("defaults.{name}");
                let mut note = |span, key| given.push(FromDefaults { key, table: table.clone(), span });
                match step.get_mut(key).map(|own| &mut own.node.value) {
                    Some(Raw::List(own)) if JOINED.contains(&key.as_str()) => {
                        join(own, key, entry, &mut self.left, &mut note);
                    }
                    _ => under(step, key, entry, &mut self.left, &mut note),
                }
            }
        }
        if !given.is_empty() {
            self.given.insert(at, given);
        }
    }

    /// The class of a step, where there is one of this name.
    fn class(&mut self, step: &Table) -> Option<String> {
        let class = step.get("class")?.node.text()?;
        if is_verb(self.catalog, &class.text) {
            let message = format!("`{}` is a verb, not a class", class.text);
            let complaint = Diagnostic::new(Code::UnknownName, message).at(class.span, "");
            self.found.push(complaint.help("`defaults.VERB` applies to each step with that verb by itself"));
            return None;
        }
        if self.parts.contains_key(&class.text) {
            self.used.insert(class.text.clone());
            return Some(class.text);
        }
        let known = self.parts.keys().map(String::as_str);
        let known = known.filter(|name| !is_verb(self.catalog, name));
        let complaint = Diagnostic::new(Code::UnknownName, format!("there is no class `{}`", class.text))
            .at(class.span, "");
        let mut complaint = complaint.suggest(&class.text, known);
        complaint.help.get_or_insert_with(|| format!("declare it: `[defaults.{}]`", class.text));
        self.found.push(complaint);
        None
    }

    /// Warns about entries that no step can have: the name of a verb may be misspelt.
    fn unused(&mut self) {
        for (name, entry) in &self.parts {
            if is_verb(self.catalog, name) || self.used.contains(name) {
                continue;
            }
            let verbs = self.catalog.verbs().map(|verb| verb.name()).chain(super::steps::CONTROL);
            let help = match nearest(name, verbs) {
                Some(near) => format!("did you mean `defaults.{near}`?"),
                None => format!("write `class = \"{name}\"` in the steps that it is meant for"),
            };
            let message = format!("no step has the class `{name}`");
            self.found.push(Diagnostic::new(Code::UnusedDefault, message).at(entry.key, "").help(help));
        }
    }
}

/// Puts the default `entry` under `key` below what `table` has there; `note` hears of each value that is given.
fn under(
    table: &mut Table,
    key: &str,
    entry: &Entry,
    left: &mut (usize, usize),
    note: &mut dyn FnMut(Span, String),
) {
    let Some(own) = table.get_mut(key) else {
        if spend(&entry.node, left) {
            note(entry.key, key.to_owned());
            table.insert(key.to_owned(), entry.clone());
        }
        return;
    };
    if let (Raw::Table(own), Raw::Table(parts)) = (&mut own.node.value, &entry.node.value) {
        for (inner, entry) in parts {
            let mut note = |span, path: String| note(span, format!("{key}.{path}"));
            under(own, inner, entry, left, &mut note);
        }
    }
}

/// Puts what the default list `entry` has, and the step's `own` list has not, in front of that list.
fn join(
    own: &mut Vec<Node>,
    key: &str,
    entry: &Entry,
    left: &mut (usize, usize),
    note: &mut dyn FnMut(Span, String),
) {
    let Raw::List(parts) = &entry.node.value else { return };
    let known: HashSet<String> = own.iter().map(|node| node.to_value().to_string()).collect();
    let is_new = |part: &&Node| !known.contains(&part.to_value().to_string());
    let new: Vec<Node> = parts.iter().filter(is_new).cloned().collect();
    if !new.is_empty() && new.iter().all(|node| spend(node, left)) {
        note(entry.key, key.to_owned());
        own.splice(0..0, new);
    }
}

/// Takes what `node` comes to from what is left, if there is enough.
fn spend(node: &Node, left: &mut (usize, usize)) -> bool {
    let (values, bytes) = size(node);
    if values > left.0 || bytes > left.1 {
        *left = (0, 0);
        return false;
    }
    *left = (left.0 - values, left.1 - bytes);
    true
}

/// How many values `node` is, and how many bytes of text are in it.
fn size(node: &Node) -> (usize, usize) {
    let sum = |all: (usize, usize), node: &Node| {
        let (values, bytes) = size(node);
        (all.0 + values, all.1 + bytes)
    };
    match &node.value {
        Raw::Text(text) => (1, text.len()),
        Raw::List(items) => items.iter().fold((1, 0), sum),
        Raw::Table(table) => table.values().map(|entry| &entry.node).fold((1, 0), sum),
        _ => (1, 0),
    }
}
