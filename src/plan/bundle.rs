use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::value::{Digest, Value};

/// Every text that a plan was made from: stored with a run, it gives the same plan again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The pipeline, as it was named.
    pub main: String,
    /// Texts by path.
    pub files: BTreeMap<String, String>,
    /// Settings, in the order in which they were given.
    pub sets: Vec<String>,
}

/// A text that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its path; `--set` for the settings.
    pub path: String,
    /// Lines that went (`-`) and came (`+`), with the line number in the old or new text; at most twenty.
    pub diff: Vec<String>,
}

impl Bundle {
    /// Digest of all of it.
    pub fn digest(&self) -> Digest {
        Digest::of_value(&serde_json::to_value(self).unwrap_or(Value::Null))
    }
}

/// What differs between the texts a run began with and those there are now.
pub fn drift(old: &Bundle, new: &Bundle) -> Vec<Changed> {
    let paths: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
    let mut changed: Vec<Changed> = paths
        .into_iter()
        .filter(|path| old.files.get(*path) != new.files.get(*path))
        .map(|path| {
            let text = |bundle: &Bundle| bundle.files.get(path).cloned().unwrap_or_default();
            Changed { path: path.clone(), diff: diff(&text(old), &text(new)) }
        })
        .collect();
    if old.sets != new.sets {
        changed.push(Changed {
            path: "--set".to_owned(),
            diff: diff(&old.sets.join("\n"), &new.sets.join("\n")),
        });
    }
    changed
}

/// The lines between the common beginning and the common end.
fn diff(old: &str, new: &str) -> Vec<String> {
    const MOST: usize = 20;
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let lines = |sign: char, rest: &[&str]| -> Vec<String> {
        let middle = rest[..rest.len() - tail].iter().enumerate();
        middle.map(|(i, line)| format!("{sign}{} {line}", head + i + 1)).collect()
    };
    let mut all = lines('-', old_rest);
    all.extend(lines('+', new_rest));
    let more = all.len().saturating_sub(MOST);
    if more > 0 {
        all.truncate(MOST);
        all.push(format!("… and {more} lines more"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_names_what_changed() {
        let old = Bundle {
            main: "p".to_owned(),
            files: [("pipelines/p.toml".to_owned(), "a\nb\nc\n".to_owned())].into(),
            sets: Vec::new(),
        };
        let mut new = old.clone();
        assert_eq!(drift(&old, &new), []);
        assert_eq!(old.digest(), new.digest());
        new.files.insert("pipelines/p.toml".to_owned(), "a\nB\nc\n".to_owned());
        new.sets.push("x=1".to_owned());
        let changed = drift(&old, &new);
        assert_eq!(changed[0].diff, ["-2 b", "+2 B"]);
        assert_eq!(changed[1].path, "--set");
        assert_ne!(old.digest(), new.digest());
    }
}
