//! Names of things: runs, steps, and the addresses of step instances inside a run.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Id of a run: a ULID, so that ids sort by time of creation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Arc<str>);

impl RunId {
    /// An id from text, for example on the command line.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }

    /// The id of a run that starts `at_ms` milliseconds after the Unix epoch.
    pub fn at(at_ms: u64, random: u128) -> Self {
        Self::new(ulid::Ulid::from_parts(at_ms, random).to_string().to_ascii_lowercase())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a step inside its body: `[a-z_][a-z0-9_-]*`, unique along the chain of enclosing bodies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(Arc<str>);

impl StepId {
    /// A step name that was checked with [`StepId::is_valid`].
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }

    /// Whether `text` is a valid step name.
    pub fn is_valid(text: &str) -> bool {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Address of a step instance in a run, such as `converge#3/judge[7]/score`.
///
/// `#n` is round *n* of a loop (from 1), `[i]` is item *i* of an `each` (from 0); the inside of a `hold`
/// or a `call` has no mark of its own. The root of a run is the empty address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(Arc<str>);

/// One part of an [`Address`]: a step, and the round or item that contains the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPart<'a> {
    /// The step's name.
    pub step: &'a str,
    /// Instance of its body.
    pub instance: Instance,
}

/// Instance of the body of a control step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// The only one: a leaf, or the body of a `hold` or `call`.
    Only,
    /// Round *n* of a loop, from 1.
    Round(u32),
    /// Item *i* of an `each`, from 0.
    Item(u32),
}

impl Address {
    /// The root of a run.
    pub fn root() -> Self {
        Self::default()
    }

    /// An address from text; [`Address::parts`] checks whether it is well formed.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }

    /// The address of step `step` in the body at `self`.
    #[must_use]
    pub fn step(&self, step: &StepId) -> Self {
        if self.0.is_empty() { Self(step.0.clone()) } else { Self(format!("{}/{}", self.0, step.0).into()) }
    }

    /// The address of round `round` (from 1) of the loop at `self`.
    #[must_use]
    pub fn round(&self, round: u32) -> Self {
        Self(format!("{}#{round}", self.0).into())
    }

    /// The address of item `index` (from 0) of the `each` at `self`.
    #[must_use]
    pub fn item(&self, index: u32) -> Self {
        Self(format!("{}[{index}]", self.0).into())
    }

    /// The parts from the root, or `None` if the text is not a valid address.
    pub fn parts(&self) -> Option<Vec<AddressPart<'_>>> {
        if self.0.is_empty() {
            return Some(Vec::new());
        }
        self.0.split('/').map(part).collect()
    }

    /// The address without item numbers, which is the same for all items of an `each`.
    #[must_use]
    pub fn of_any_item(&self) -> Self {
        let parts = self.0.split('/').map(|part| match part.split_once('[') {
            Some((step, _)) => format!("{step}[]"),
            None => part.to_owned(),
        });
        Self(parts.collect::<Vec<_>>().join("/").into())
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn part(text: &str) -> Option<AddressPart<'_>> {
    let (step, instance) = if let Some((step, n)) = text.split_once('#') {
        (step, Instance::Round(n.parse().ok()?))
    } else if let Some((step, rest)) = text.split_once('[') {
        (step, Instance::Item(rest.strip_suffix(']')?.parse().ok()?))
    } else {
        (text, Instance::Only)
    };
    StepId::is_valid(step).then_some(AddressPart { step, instance })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_what_was_built() {
        let at = Address::root().step(&StepId::new("converge")).round(3).step(&StepId::new("judge")).item(7);
        let at = at.step(&StepId::new("score"));
        assert_eq!(at.as_str(), "converge#3/judge[7]/score");
        let parts = at.parts().unwrap();
        assert_eq!(parts[0], AddressPart { step: "converge", instance: Instance::Round(3) });
        assert_eq!(parts[1], AddressPart { step: "judge", instance: Instance::Item(7) });
        assert_eq!(parts[2], AddressPart { step: "score", instance: Instance::Only });
        assert_eq!(Address::new("a[x]").parts(), None);
        assert_eq!(Address::new("a//b").parts(), None);
    }

    #[test]
    fn run_ids_sort_by_time() {
        assert!(RunId::at(1, 9) < RunId::at(2, 0));
    }
}
