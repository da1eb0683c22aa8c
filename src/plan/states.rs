//! What is known of the variables of a loop's state: the shape that a variable begins with, where every round keeps it.

use indexmap::IndexMap;

use super::resolve::Resolver;
use super::scope::{InScope, Site};
use crate::expr::{Expr, Names, Shape, Step};
use crate::model::{self, Name, Text};

/// By variable: what is known of it in each round.
pub(super) type States = IndexMap<String, Shape>;

impl Resolver<'_, '_> {
    /// The shapes of a loop's variables. Of what the steps of a round give, nothing is known yet.
    pub(super) fn states(&self, read: &model::Loop) -> States {
        let rules = read.rules.iter().flat_map(|rule| &rule.set);
        self.kept(&read.state, read.next.iter().chain(rules))
    }

    /// The shapes of variables that begin with `first` and are changed by `changes`. A variable has the shape of its first value
    /// if, provided that all variables have the shapes found here, everything that changes it gives that shape again (or fails).
    pub(super) fn kept<'t>(
        &self,
        first: &[(Name, Text)],
        changes: impl Iterator<Item = &'t (Name, Text)>,
    ) -> States {
        let mut states: States =
            first.iter().map(|(name, text)| (name.text.clone(), self.made(text))).collect();
        let changes: Vec<_> = changes.collect();
        loop {
            let differs = |name: &str, text: &Text| {
                states
                    .get(name)
                    .is_some_and(|shape| *shape != Shape::Any && self.next(text, &states) != *shape)
            };
            let lost: Vec<&str> = changes
                .iter()
                .filter(|(name, text)| differs(&name.text, text))
                .map(|(name, _)| name.text.as_str())
                .collect();
            if lost.is_empty() {
                return states;
            }
            for name in lost {
                states.insert(name.to_owned(), Shape::Any);
            }
        }
    }

    fn next(&self, text: &Text, states: &States) -> Shape {
        let Ok(expr) = Expr::parse(&text.text, &self.functions) else { return Shape::Any };
        // What is wrong with it is found when it is compiled, with the shapes that come of this.
        expr.infer(&Before { outer: self, states }).0
    }
}

/// The names at the end of a round whose steps are not resolved yet.
struct Before<'r, 'l, 'a> {
    outer: &'r Resolver<'l, 'a>,
    states: &'r States,
}

impl Names for Before<'_, '_, '_> {
    fn shape(&self, path: &[Step]) -> Shape {
        let Some((Step::Key(root), rest)) = path.split_first() else { return Shape::Any };
        match (root.as_str(), rest) {
            ("state", [Step::Key(name), rest @ ..]) => {
                self.states.get(name).and_then(|shape| shape.walk(rest).ok()).unwrap_or_default()
            }
            // These are the loop's own, and steps may be: nothing is known of them here.
            ("state" | "let" | "loop" | "steps", _) => Shape::Any,
            ("n", []) => Shape::Number,
            _ => InScope { resolver: self.outer, site: &Site::default() }.shape(path),
        }
    }
}
