//! What a build does not see of a tree: files that its `.dockerignore` names, read as Docker reads it.

use std::path::{Component, Path};

use regex::Regex;

use crate::tree::{Tree, TreeError};
use crate::verb::Blobs;

const FILE: &str = ".dockerignore";

/// Patterns for paths and the directories around them; of those that fit, the last one decides.
#[derive(Debug, Default)]
pub struct Ignored(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    hides: bool,
    paths: Regex,
}

impl Ignored {
    /// Those of `tree`, none where it has no such file. Errors: a file that is no text, a pattern that means nothing.
    pub fn of(tree: &Tree, blobs: &dyn Blobs) -> Result<Result<Self, String>, TreeError> {
        match tree.text(blobs, FILE) {
            Ok(text) => Ok(Self::read(&text)),
            Err(TreeError::NoFile { .. }) => Ok(Ok(Self::default())),
            Err(error @ TreeError::NotText { .. }) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
        let lines = lines.map(|(at, line)| (at, line.trim())).filter(|(_, line)| !line.is_empty());
        let patterns = lines.map(|(at, line)| {
            let (hides, path) = line.strip_prefix('!').map_or((true, line), |path| (false, path.trim()));
            let paths = Regex::new(&expression(&clean(path)));
            paths
                .map(|paths| Pattern { hides, paths })
                .map_err(|_| format!("line {at} of {FILE}: `{line}` is no pattern"))
        });
        patterns.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a build does not see the file at `path`.
    pub fn hides(&self, path: &str) -> bool {
        let around = || path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
        let fits = |pattern: &&Pattern| around().any(|part| pattern.paths.is_match(part));
        self.0.iter().rev().find(fits).is_some_and(|pattern| pattern.hides)
    }

    /// `tree` without what a build does not see; the Dockerfile and the patterns themselves go along in any case.
    pub fn leave(&self, tree: &Tree, dockerfile: &str) -> Tree {
        let stays = |path: &str| path == dockerfile || path == FILE || !self.hides(path);
        let files = tree.files.iter().filter(|(path, _)| stays(path));
        Tree { files: files.map(|(path, file)| (path.clone(), *file)).collect() }
    }
}

/// A pattern without `.`, `..` and slashes that mean nothing.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(pattern).components() {
        match part {
            Component::Normal(name) => parts.extend(name.to_str()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

/// The regular expression for a pattern: `*` and `?` stop at a slash, `**` does not.
fn expression(pattern: &str) -> String {
    let mut out = String::from("^");
    let mut left = pattern.chars().peekable();
    while let Some(c) = left.next() {
        match c {
            '*' if left.next_if_eq(&'*').is_some() => {
                let _ = left.next_if_eq(&'/');
                out.push_str(if left.peek().is_some() { "(.*/)?" } else { ".*" });
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' | ']' | '^' | '-' => out.push(c),
            '\\' => out.push_str(&regex::escape(&left.next().unwrap_or('\\').to_string())),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out + "$"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden<'p>(text: &str, paths: &[&'p str]) -> Vec<&'p str> {
        let ignored = Ignored::read(text).unwrap();
        paths.iter().copied().filter(|path| ignored.hides(path)).collect()
    }

    #[test]
    fn patterns_mean_what_they_mean_to_docker() {
        let paths = ["a.log", "x/a.log", "x/y/a.log", "docs/a.md", "docs/x/b.md", "README.md", "a b", ".env"];
        assert_eq!(hidden("*.log", &paths), ["a.log"]);
        assert_eq!(hidden("**/*.log", &paths), ["a.log", "x/a.log", "x/y/a.log"]);
        assert_eq!(hidden("*/*.log", &paths), ["x/a.log"]);
        assert_eq!(hidden("x/**/a.log", &paths), ["x/a.log", "x/y/a.log"]);
        assert_eq!(hidden("/docs/", &paths), ["docs/a.md", "docs/x/b.md"]);
        assert_eq!(hidden("./docs/../x", &paths), ["x/a.log", "x/y/a.log"]);
        assert_eq!(hidden("docs\n!docs/x", &paths), ["docs/a.md"]);
        assert_eq!(hidden("*.md\n! README.md\n", &paths), Vec::<&str>::new());
        assert_eq!(hidden("!README.md\n*.md", &paths), ["README.md"]);
        assert_eq!(hidden("# *\n\n  a b  \n.e?v\n", &paths), ["a b", ".env"]);
        assert_eq!(hidden("[a-c].log\ndoc", &paths), ["a.log"]);
        assert_eq!(hidden("[^a]*.md", &paths), ["README.md"]);
        assert_eq!(
            hidden("**\n!docs", &paths),
            ["a.log", "x/a.log", "x/y/a.log", "README.md", "a b", ".env"]
        );
        assert_eq!(hidden("a+\\*(b", &["a+*(b", "aa*(b"]), ["a+*(b"]);
        assert_eq!(hidden(".\n", &paths), Vec::<&str>::new());
    }

    #[test]
    fn a_pattern_that_means_nothing_is_named_with_its_line() {
        let wrong = Ignored::read("# a\nb\n[c\n").unwrap_err();
        assert_eq!(wrong, "line 3 of .dockerignore: `[c` is no pattern");
    }
}
