//! What is known of the names in scope at a place.

use std::sync::Arc;

use super::scope::{InScope, attempt_shape};
use super::shape;
use crate::expr::{Choices, Names, Shape, Step};

impl Names for InScope<'_, '_, '_, '_> {
    fn choices(&self, path: &[Step]) -> Option<Arc<Choices>> {
        match path {
            [Step::Key(root)] if root == "output" && self.site.output.is_some() => {
                let level = self.resolver.levels.last()?;
                level.shapes[level.current?].choices.clone()
            }
            _ => self.resolver.choices(path),
        }
    }

    fn may_be_zero_or_none(&self, path: &[Step]) -> bool {
        shape::may_be_zero_or_none(&self.resolver.inputs, path)
    }

    fn shape(&self, path: &[Step]) -> Shape {
        let Some((Step::Key(root), rest)) = path.split_first() else { return Shape::Any };
        let (resolver, site) = (self.resolver, self.site);
        let walked = |shape: &Shape, rest: &[Step]| shape.walk(rest).unwrap_or_default();
        match root.as_str() {
            "inputs" => match rest.split_first() {
                Some((Step::Key(name), rest)) => match resolver.inputs.get(name) {
                    Some(input) => walked(&shape::of_input(input), rest),
                    None => Shape::Any,
                },
                _ => Shape::Any,
            },
            "steps" => match rest {
                [Step::Key(name), Step::Key(field), rest @ ..] => match resolver.find(name) {
                    Some((depth, place)) => walked(&resolver.levels[depth].shapes[place].field(field), rest),
                    None => Shape::Any,
                },
                _ => Shape::Any,
            },
            "run" => walked(&resolver.run_shape(), rest),
            "error" if site.error => walked(&shape::failure(), rest),
            "attempt" if site.attempt => walked(&attempt_shape(), rest),
            "output" => site.output.map_or(Shape::Any, |shape| walked(shape, rest)),
            "outputs" => Shape::Any,
            "n" if site.computed.is_some() => Shape::Number,
            "seed" => site.computed.map_or(Shape::Any, |computed| walked(&computed.seed, rest)),
            "state" if site.computed.is_some() => {
                site.computed.map_or(Shape::Any, |computed| walked(&computed.states, rest))
            }
            "let" => resolver.let_shape(rest, site),
            "state" | "loop" | "held" => walked(&resolver.control_shape(root), rest),
            name => walked(&resolver.item_shape(name, site), rest),
        }
    }
}
