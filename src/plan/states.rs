//! What is known of the variables of a loop's state: the shape that a variable begins with, where every round keeps it.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::resolve::Resolver;
use super::scope::{Around, InScope, Site};
use super::shape;
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
        // What is wrong with a change is found when it is compiled, with the shapes that come of this.
        let parsed = |(name, text): &'t (Name, Text)| {
            (name.text.as_str(), Expr::parse(&text.text, &self.functions).ok())
        };
        let changes: Vec<(&str, Option<Expr>)> = changes.map(parsed).collect();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, (_, expr)) in changes.iter().enumerate() {
            for read in expr.iter().flat_map(Expr::refs) {
                if let [Step::Key(root), Step::Key(name), ..] = read.path.as_slice()
                    && root == "state"
                {
                    readers.entry(name).or_default().push(place);
                }
            }
        }
        // A change is looked at again only when a variable that it reads is known no more.
        let mut waiting: Vec<usize> = (0..changes.len()).collect();
        while let Some(place) = waiting.pop() {
            let (name, expr) = &changes[place];
            let Some(shape) = states.get(*name).filter(|shape| **shape != Shape::Any) else { continue };
            let next = expr
                .as_ref()
                .map_or(Shape::Any, |expr| expr.infer(&Before { outer: self, states: &states }).0);
            if next != *shape {
                states.insert((*name).to_owned(), Shape::Any);
                waiting.extend(readers.get(name).into_iter().flatten());
            }
        }
        states
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

impl Resolver<'_, '_> {
    /// What is known of `state`, `let`, `loop` or `held` here.
    pub(super) fn control_shape(&self, root: &str) -> Shape {
        let found = self.levels.iter().rev().find_map(|level| match (&level.around, root) {
            (Around::Hold { held }, "held") => Some(held.clone()),
            (Around::Loop { state, .. }, "state") => Some(state.clone()),
            (Around::Loop { lets, .. }, "let") => Some(lets.clone()),
            (Around::Loop { state, known, .. }, "loop") => {
                let round = Shape::table([
                    ("round", Shape::Number),
                    ("let", known.clone()),
                    ("state", state.clone()),
                    ("rule", Shape::Text.or_none()),
                    ("exit", Shape::Text.or_none()),
                    ("spent", shape::spent()),
                ]);
                Some(Shape::table([("index", Shape::Number), ("history", Shape::list(round))]))
            }
            _ => None,
        });
        found.unwrap_or_default()
    }
}
