//! Tables whose entries have an order, because the first that applies counts: exits, rules and refusals.

use super::merge::remove;
use crate::diag::{Code, Diagnostic, Span};
use crate::model::{Entry, Node, Raw, Table, Text};

/// What the entries of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Exits of a pipeline.
    Exit,
    /// Refused inputs.
    Refusal,
    /// Exits of a loop.
    LoopExit,
    /// Changes of a loop's state.
    Rule,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Exit | Self::LoopExit => "exits",
            Self::Refusal => "refuse",
            Self::Rule => "rules",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Exit | Self::LoopExit => "exit",
            Self::Refusal => "refusal",
            Self::Rule => "rule",
        }
    }

    /// The key that named an entry when these were lists.
    fn old_name(self) -> &'static str {
        if self == Self::Rule { "name" } else { "status" }
    }

    /// What to write for an entry called `name`.
    fn example(self, name: &str) -> String {
        match self {
            Self::Exit => format!("`[exits]` with `{name} = {{ when = \"…\", code = 4 }}`"),
            Self::LoopExit => format!("`[steps.LOOP.loop.exits]` with `{name} = \"…\"`"),
            Self::Rule => format!("`[steps.LOOP.loop.rules.{name}]` with `when` and `set`"),
            Self::Refusal => format!("`[refuse.{name}]` with `when` and `message`"),
        }
    }
}

/// A wish for the place of an entry.
struct Place {
    entry: String,
    /// The other entry, which this one is to stand directly in front of or behind.
    other: Text,
    before: bool,
}

/// Lays the entries of `over` over those of `base`. Text stands for the condition, `false` removes an entry, and
/// `before` or `after` gives it a place.
pub(super) fn lay(base: &mut Node, over: Node, kind: Kind, found: &mut Vec<Diagnostic>) {
    let Raw::Table(over) = over.value else {
        found.push(not_named(&over, kind));
        return;
    };
    let mut places = Vec::new();
    for (name, Entry { key, node }) in over {
        if matches!(node.value, Raw::Bool(false)) {
            remove(base, &name, key, kind.noun(), found);
            continue;
        }
        let mut node = whole(node);
        places.extend(take_place(&name, &mut node, found));
        let Raw::Table(table) = &mut base.value else { return };
        if let Some(old) = table.get_mut(&name) {
            old.key = key;
            old.node.merge(node);
        } else {
            table.insert(name, Entry { key, node });
        }
    }
    if let Raw::Table(table) = &mut base.value {
        arrange(table, &places, kind, found);
    }
}

/// The entry as a table: text is its condition.
fn whole(node: Node) -> Node {
    let span = node.span;
    match node.value {
        Raw::Text(_) => {
            let table = [("when".to_owned(), Entry { key: span, node })].into_iter().collect();
            Node { span, value: Raw::Table(table) }
        }
        value => Node { span, value },
    }
}

/// Takes `before` and `after` out of an entry.
fn take_place(name: &str, node: &mut Node, found: &mut Vec<Diagnostic>) -> Option<Place> {
    let Raw::Table(table) = &mut node.value else { return None };
    let mut places = Vec::new();
    for (word, before) in [("before", true), ("after", false)] {
        let Some(Entry { key, node }) = table.shift_remove(word) else { continue };
        match node.text() {
            Some(other) => places.push((key, Place { entry: name.to_owned(), other, before })),
            None => found.push(
                Diagnostic::new(Code::WrongType, format!("`{word}` must be text, this is {}", node.noun()))
                    .at(node.span, "expected text")
                    .help(format!("name another entry of the same table: `{word} = \"stalled\"`")),
            ),
        }
    }
    if let [(before, _), (after, _)] = places.as_slice() {
        let message = "an entry has one place: `before` and `after` exclude each other";
        let complaint = Diagnostic::new(Code::NoEffect, message);
        found.push(complaint.at(*after, "").at(*before, "").help("remove one of them"));
    }
    places.into_iter().next().map(|(_, place)| place)
}

/// Moves entries to the places that are wished for.
fn arrange(table: &mut Table, places: &[Place], kind: Kind, found: &mut Vec<Diagnostic>) {
    let complain = |code, message: String, at: Span| Diagnostic::new(code, message).at(at, "");
    let mut moved = Vec::new();
    for place in places {
        let Place { entry, other, before } = place;
        let word = if *before { "before" } else { "after" };
        if *entry == other.text {
            let message = format!("`{entry}` cannot stand {word} itself");
            found.push(complain(Code::UnknownName, message, other.span).help("name another entry"));
            continue;
        }
        if !table.contains_key(&other.text) {
            let message = format!("there is no {} `{}`", kind.noun(), other.text);
            let known = table.keys().map(String::as_str).filter(|known| known != entry);
            found.push(complain(Code::UnknownName, message, other.span).suggest(&other.text, known));
            continue;
        }
        let Some(value) = table.shift_remove(entry) else { continue };
        let at = table.get_index_of(&other.text).unwrap_or(table.len());
        table.shift_insert(if *before { at } else { at + 1 }, entry.clone(), value);
        moved.push(place);
    }
    for Place { entry, other, before } in moved {
        let (own, others) = (table.get_index_of(entry), table.get_index_of(&other.text));
        if (own < others) != *before {
            let word = if *before { "before" } else { "after" };
            let message =
                format!("`{entry}` cannot be {word} `{}`: other places contradict that", other.text);
            found.push(complain(Code::NoEffect, message, other.span).help("remove one of the places"));
        }
    }
}

/// What is said of entries without names.
fn not_named(node: &Node, kind: Kind) -> Diagnostic {
    let (key, noun) = (kind.key(), kind.noun());
    let message = format!("`{key}` must be a table with a name for each {noun}, this is {}", node.noun());
    let first = match &node.value {
        Raw::List(items) => items.first().and_then(Node::table),
        _ => None,
    };
    let name = first.and_then(|first| first.get(kind.old_name())?.node.text());
    let name = name.map_or_else(|| "NAME".to_owned(), |name| name.text);
    Diagnostic::new(Code::WrongType, message)
        .at(node.span, "expected a table")
        .help(format!("write {}", kind.example(&name)))
}
