//! What is known at load of a value that a run will make.

use std::sync::Arc;

use indexmap::IndexMap;

use super::refs::Step;

/// A set of values. What is said of it is certain: where nothing is known, it is [`Shape::Any`].
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Shape {
    /// Nothing is known.
    #[default]
    Any,
    /// `none`.
    None,
    /// A truth value.
    Bool,
    /// A number.
    Number,
    /// Text.
    Text,
    /// A list of such items.
    List(Arc<Shape>),
    /// An object.
    Table(Arc<KnownFields>),
    /// One of these, none of which is a union or `Any`.
    OneOf(Arc<[Shape]>),
}

/// What is known of an object's fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownFields {
    /// KnownFields by name.
    pub known: IndexMap<String, Shape>,
    /// Whether there may be others.
    pub open: bool,
}

/// A field that there cannot be.
#[derive(Clone, Debug, PartialEq)]
pub struct NoField {
    /// Which step of the path names it.
    pub at: usize,
    /// The objects that it is not a field of.
    pub tables: Vec<Arc<KnownFields>>,
    /// What has no such field, in the words of messages.
    pub noun: &'static str,
}

impl NoField {
    /// The fields that there are; of very many the first ones.
    pub fn known(&self) -> Vec<&str> {
        const SORTED: usize = 100;
        let names = self.tables.iter().flat_map(|table| table.known.keys()).map(String::as_str);
        let mut known: Vec<&str> = names.take(10 * SORTED).collect();
        if known.len() <= SORTED {
            known.sort_unstable();
            known.dedup();
        }
        known
    }
}

/// How many alternatives are told apart.
const MOST: usize = 24;

impl Shape {
    /// A list of `item`.
    pub fn list(item: Shape) -> Self {
        Self::List(Arc::new(item))
    }

    /// An object with these fields and no others.
    pub fn table<K: Into<String>>(known: impl IntoIterator<Item = (K, Shape)>) -> Self {
        let known = known.into_iter().map(|(name, shape)| (name.into(), shape)).collect();
        Self::Table(Arc::new(KnownFields { known, open: false }))
    }

    /// Says what is known of the field `name` of an object; anything else stays what it is.
    pub fn set_field(&mut self, name: &str, shape: Shape) {
        if let Self::Table(fields) = self {
            Arc::make_mut(fields).known.insert(name.to_owned(), shape);
        }
    }

    /// One of `shapes`.
    pub fn one_of(shapes: impl IntoIterator<Item = Shape>) -> Self {
        let mut all: Vec<Self> = Vec::new();
        for shape in shapes {
            let parts = match shape {
                Self::Any => return Self::Any,
                Self::OneOf(parts) => parts.to_vec(),
                other => vec![other],
            };
            for part in parts {
                if !all.contains(&part) {
                    all.push(part);
                }
            }
            if all.len() > MOST {
                return Self::Any;
            }
        }
        match all.len() {
            0 => Self::Any,
            1 => all.remove(0),
            _ => Self::OneOf(all.into()),
        }
    }

    /// The same, or `none`.
    #[must_use]
    pub fn or_none(self) -> Self {
        Self::one_of([self, Self::None])
    }

    /// The alternatives; a shape that is none of several is its own only one.
    pub fn variants(&self) -> &[Shape] {
        match self {
            Self::OneOf(parts) => parts,
            other => std::slice::from_ref(other),
        }
    }

    /// Whether a value of this shape may be one for which `fits` holds.
    pub fn may(&self, fits: impl Fn(&Shape) -> bool) -> bool {
        self.variants().iter().any(|shape| matches!(shape, Self::Any) || fits(shape))
    }

    /// What it is, in the words of messages.
    pub fn noun(&self) -> &'static str {
        let noun = |shape: &Self| match shape {
            Self::Any | Self::OneOf(_) => "a value",
            Self::None => "none",
            Self::Bool => "a truth value",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List(_) => "a list",
            Self::Table(_) => "an object",
        };
        let mut known = self.variants().iter().filter(|shape| **shape != Self::None).map(noun);
        let first = known.next().unwrap_or("none");
        if known.all(|other| other == first) { first } else { "a value" }
    }

    /// What its items are, where it is a list.
    #[must_use]
    pub fn item(&self) -> Self {
        let items = self.variants().iter().filter_map(|shape| match shape {
            Self::List(item) => Some(item.as_ref().clone()),
            Self::Any => Some(Self::Any),
            _ => None,
        });
        Self::one_of(items)
    }

    /// What lies under `path`, or the first step of it that names a field which there cannot be.
    pub fn walk(&self, path: &[Step]) -> Result<Self, NoField> {
        let mut here = self.clone();
        for (at, step) in path.iter().enumerate() {
            here = match step {
                Step::Key(key) => here.field(key).map_err(|(tables, noun)| NoField { at, tables, noun })?,
                Step::Index(_) if !here.may(|shape| matches!(shape, Self::Table(_) | Self::Text)) => {
                    here.item()
                }
                Step::Index(_) | Step::Dynamic => return Ok(Self::Any),
            };
            if here == Self::Any {
                return Ok(here);
            }
        }
        Ok(here)
    }

    /// What lies under `key`; otherwise the objects without such a field, and what all of it is.
    pub fn field(&self, key: &str) -> Result<Self, (Vec<Arc<KnownFields>>, &'static str)> {
        let (mut found, mut tables) = (Vec::new(), Vec::new());
        for shape in self.variants() {
            match shape {
                Self::Any => return Ok(Self::Any),
                Self::Table(fields) => match fields.known.get(key) {
                    Some(field) => found.push(field.clone()),
                    None if fields.open => return Ok(Self::Any),
                    None => tables.push(fields.clone()),
                },
                _ => {}
            }
        }
        if !found.is_empty() || self.variants().iter().all(|shape| *shape == Self::None) {
            return Ok(Self::one_of(found));
        }
        Err((tables, self.noun()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(path: &[&str]) -> Vec<Step> {
        path.iter().map(|key| Step::Key((*key).to_owned())).collect()
    }

    #[test]
    fn only_fields_that_there_cannot_be_are_missed() {
        let part = Shape::table([("name", Shape::Text)]).or_none();
        let shape =
            Shape::table([("score", Shape::Number), ("part", part.clone()), ("parts", Shape::list(part))]);
        assert_eq!(shape.walk(&keys(&["part", "name"])), Ok(Shape::Text));
        let wrong = shape.walk(&keys(&["part", "nmae"])).unwrap_err();
        assert_eq!((wrong.at, wrong.known()), (1, vec!["name"]));
        let wrong = shape.walk(&keys(&["score", "x"])).unwrap_err();
        assert_eq!((wrong.at, wrong.noun), (1, "a number"));
        let wrong = shape.walk(&keys(&["parts", "name"])).unwrap_err();
        assert_eq!((wrong.at, wrong.noun), (1, "a list"));
        let mut path = keys(&["parts"]);
        path.extend([Step::Index(0), Step::Key("x".to_owned())]);
        assert_eq!(shape.walk(&path).unwrap_err().at, 2);
        assert_eq!(Shape::None.walk(&keys(&["x"])), Ok(Shape::Any));
        assert_eq!(Shape::one_of([Shape::Any, Shape::Text]).walk(&keys(&["x"])), Ok(Shape::Any));
    }
}
