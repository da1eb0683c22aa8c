//! Files of a tree that a build ignores because of `.dockerignore`, with the same rules as Docker.

use std::path::{Component, Path};

use regex::{RegexBuilder, RegexSet, RegexSetBuilder};
use tokio_util::sync::CancellationToken;

use crate::tree::{Tree, TreeError};
use crate::verb::Blobs;

const FILE: &str = Ignored::FILE;
/// Most bytes of the file, and of one pattern; most patterns.
const LARGEST: u64 = 256 << 10;
const LONGEST: usize = 1_024;
const PATTERNS: usize = 1_000;
/// Most bytes of memory for all patterns together.
const COMPILED: usize = 4 << 20;

/// Patterns for paths and their parent directories. The last matching pattern decides.
#[derive(Debug, Default)]
pub struct Ignored {
    paths: RegexSet,
    /// Whether each pattern hides its matches.
    hides: Vec<bool>,
}

impl Ignored {
    /// File with the patterns.
    pub const FILE: &str = ".dockerignore";

    /// The patterns of `tree`; empty if the file is missing. Errors: the file is not text, or a pattern is
    /// invalid.
    pub fn of(tree: &Tree, blobs: &dyn Blobs) -> Result<Result<Self, String>, TreeError> {
        let size = tree.files.get(FILE).map_or(0, |file| file.blob.size);
        if size > LARGEST {
            return Ok(Err(format!("{FILE} has {size} bytes, more than {LARGEST}")));
        }
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
        let (mut hides, mut expressions) = (Vec::new(), Vec::new());
        for (at, line) in lines {
            if line.len() > LONGEST || hides.len() == PATTERNS {
                return Err(format!(
                    "line {at} of {FILE}: there are at most {PATTERNS} patterns of at most {LONGEST} bytes"
                ));
            }
            let (hidden, path) = line.strip_prefix('!').map_or((true, line), |path| (false, path.trim()));
            hides.push(hidden);
            expressions.push((at, line, expression(&clean(path))));
        }
        let mut whole = RegexSetBuilder::new(expressions.iter().map(|(_, _, expression)| expression));
        if let Ok(paths) = whole.size_limit(COMPILED).build() {
            return Ok(Self { paths, hides });
        }
        let is_wrong = |expression: &str| RegexBuilder::new(expression).size_limit(COMPILED).build().is_err();
        Err(match expressions.iter().find(|(_, _, expression)| is_wrong(expression)) {
            Some((at, line, _)) => format!("line {at} of {FILE}: `{line}` is not a valid pattern"),
            None => format!("{FILE}: its patterns together need too much memory"),
        })
    }

    /// Whether a build ignores the file at `path`.
    pub fn hides(&self, path: &str) -> bool {
        let around = path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
        let last = around.filter_map(|part| self.paths.matches(part).iter().next_back()).max();
        last.is_some_and(|last| self.hides[last])
    }

    /// `tree` without ignored files. The Dockerfile and the file with the patterns are always included.
    /// `None` if it was cancelled.
    pub fn leave(&self, tree: &Tree, dockerfile: &str, cancel: &CancellationToken) -> Option<Tree> {
        let mut left = Tree::new();
        for (path, file) in &tree.files {
            if cancel.is_cancelled() {
                return None;
            }
            if path == dockerfile || path == FILE || !self.hides(path) {
                left.files.insert(path.clone(), *file);
            }
        }
        Some(left)
    }
}

/// A pattern without redundant `.`, `..` and slashes.
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
        assert_eq!(wrong, "line 3 of .dockerignore: `[c` is not a valid pattern");
    }

    #[test]
    fn what_patterns_may_cost_is_bounded() {
        let many = "a*b?c\n".repeat(1_001);
        assert!(
            Ignored::read(&many).unwrap_err().starts_with("line 1001 of .dockerignore: there are at most")
        );
        assert!(Ignored::read(&"x".repeat(1_025)).unwrap_err().contains("at most 1024 bytes"));
        let heavy = format!("{}\n", "*?".repeat(100)).repeat(1_000);
        let heavy = Ignored::read(&heavy);
        assert!(
            heavy.as_ref().map_or_else(|why| why.contains("too much memory"), |i| !i.hides("a/b")),
            "{heavy:?}"
        );
    }
}
