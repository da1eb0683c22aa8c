//! Files in a directory that match globs: the inputs of a cached step.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use globset::{Glob, GlobMatcher, GlobSet, GlobSetBuilder};

use super::TreeError;
use super::disk::disk;
use crate::rooted_fs::{EntryKind, RootedFs};
use crate::value::Digest;

/// Most entries of a directory that are read.
const MOST: usize = 200_000;
/// Most bytes of the matching files.
pub(super) const LARGEST: u64 = 1 << 30;

/// Compiles globs relative to a directory. A glob without `/` is matched against names. The error describes
/// an invalid glob.
pub fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
            return Err(format!("`{pattern}` is outside the project"));
        }
        set.add(
            Glob::new(&anywhere(pattern))
                .map_err(|e| format!("`{pattern}` is not a valid glob: {}", e.kind()))?,
        );
    }
    set.build().map_err(|e| e.to_string())
}

fn anywhere(pattern: &str) -> String {
    let pattern = pattern.trim_start_matches("./");
    if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") }
}

/// Files that match globs, and a handle to the directory. Links are not followed; `.git` and `.atoll` are
/// skipped.
pub(super) struct ChosenFiles {
    pub(super) fs: RootedFs,
    /// The directory, following links that stay inside.
    pub(super) inside: RootedFs,
    /// Matching paths with their kinds, sorted.
    pub(super) found: Vec<(String, EntryKind)>,
    /// Why there may be more matching files that are not read.
    pub(super) hidden: Option<String>,
}

/// The components of a glob, to decide which directories it can match in.
struct Way(Vec<Option<GlobMatcher>>);

impl Way {
    fn of(pattern: &str) -> Self {
        let part = |part: &str| match part {
            "**" => None,
            // A component that is not a valid glob belongs to alternatives, so it may match anything.
            part => Glob::new(part).or_else(|_| Glob::new("*")).ok().map(|glob| glob.compile_matcher()),
        };
        Self(anywhere(pattern).split('/').map(part).collect())
    }

    /// Whether it names `path` as a parent directory. A glob that matches everywhere names none.
    fn leads_into(&self, path: &str) -> bool {
        for (at, name) in path.split('/').enumerate() {
            match self.0.get(at) {
                Some(Some(part)) if part.is_match(name) => {}
                Some(None) => return at > 0,
                _ => return false,
            }
        }
        true
    }
}

impl ChosenFiles {
    pub(super) fn of(dir: &Path, patterns: &[String]) -> Result<Self, TreeError> {
        let set = globs(patterns).map_err(|why| wrong(dir, why))?;
        let ways: Vec<Way> = patterns.iter().map(|pattern| Way::of(pattern)).collect();
        let leads_into = |path: &str| ways.iter().any(|way| way.leads_into(path));
        let open = || RootedFs::open(dir).map_err(disk(dir));
        let mut chosen =
            Self { fs: open()?, inside: open()?.following_links(), found: Vec::new(), hidden: None };
        let (mut left, mut seen) = (vec![String::new()], 0);
        while let (Some(prefix), false) = (left.pop(), patterns.is_empty()) {
            let entries = match chosen.fs.entries(Path::new(&prefix), MOST) {
                Ok(entries) => entries,
                Err(e) if prefix.is_empty() => return Err(disk(dir)(e)),
                Err(e) if leads_into(&prefix) => {
                    chosen.hide(format!("`{prefix}` cannot be read: {e}"));
                    continue;
                }
                Err(_) => continue,
            };
            seen += entries.len();
            if seen > MOST {
                return Err(wrong(dir, format!("there are more than {MOST} files")));
            }
            for (name, kind) in entries {
                let shown = name.to_string_lossy();
                if shown == ".git" || shown == ".atoll" {
                    continue;
                }
                let path = if prefix.is_empty() { shown.to_string() } else { format!("{prefix}/{shown}") };
                let fits = set.is_match(&path);
                if name.to_str().is_none() {
                    if fits || (kind == EntryKind::Dir && leads_into(&path)) {
                        chosen.hide(format!("the name of `{path}` is not UTF-8"));
                    }
                    continue;
                }
                if kind == EntryKind::Link && !fits && leads_into(&path) && chosen.may_be_dir(&path) {
                    chosen.hide(format!("`{path}` is a symbolic link, whose target is not read"));
                }
                if kind == EntryKind::Dir {
                    left.push(path.clone());
                }
                if fits {
                    chosen.found.push((path, kind));
                }
            }
        }
        chosen.found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(chosen)
    }

    pub(super) fn hide(&mut self, why: String) {
        self.hidden.get_or_insert(why);
    }

    /// Whether the link at `path` points to a directory or outside the root.
    fn may_be_dir(&self, path: &str) -> bool {
        let target = self.fs.read_link(Path::new(path)).unwrap_or_default();
        leads_out(path, &target) || self.inside.is_dir(Path::new(path))
    }
}

/// Whether a link at `path` with this target points outside the directory that `path` is relative to.
pub(super) fn leads_out(path: &str, target: &Path) -> bool {
    let mut depth = path.split('/').count() - 1;
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return true,
        }
    }
    false
}

/// Digests of the files that match globs.
pub struct FileDigests {
    /// For each glob, the number of matching files and a digest of their paths and contents.
    pub each: Vec<(usize, Digest)>,
    /// Why there may be more files that are not read, so that changes in them are not noticed.
    pub hidden: Option<String>,
    /// A digest of the inodes and change times of all these files. It also differs after a change that was
    /// reverted.
    pub stamp: Digest,
}

/// Digests of the files in `dir` that match the globs. A link to a file inside counts with its target and
/// the content of that file.
pub fn digests_of_chosen(dir: &Path, patterns: &[String]) -> Result<FileDigests, TreeError> {
    let mut chosen = ChosenFiles::of(dir, patterns)?;
    let mut lines: Vec<(String, String)> = Vec::with_capacity(chosen.found.len());
    let mut stamps = String::new();
    let mut left = LARGEST;
    for (path, kind) in std::mem::take(&mut chosen.found) {
        let at = Path::new(&path);
        let state = dir.join(at).metadata();
        if let Ok(state) = &state {
            let _ = writeln!(stamps, "{} {} {}.{}", path, state.ino(), state.ctime(), state.ctime_nsec());
        }
        let line = match kind {
            EntryKind::Dir => continue,
            EntryKind::File => {
                let bytes = chosen.fs.read(at, left).map_err(disk(at))?;
                left -= bytes.len() as u64;
                let executable = state.is_ok_and(|state| state.mode() & 0o111 != 0);
                format!("{}{} {path}\n", Digest::of(&bytes), if executable { " x" } else { "" })
            }
            EntryKind::Link => {
                let target = chosen.fs.read_link(at).map_err(disk(at))?;
                let content = if chosen.inside.is_file(at) {
                    let bytes = chosen.inside.read(at, left).map_err(disk(at))?;
                    left -= bytes.len() as u64;
                    Digest::of(&bytes).to_string()
                } else {
                    if leads_out(&path, &target) || chosen.inside.is_dir(at) {
                        chosen.hide(format!("`{path}` is a symbolic link, whose target is not read"));
                    }
                    "-".to_owned()
                };
                format!("{content} {} -> {path}\n", target.display())
            }
            EntryKind::Other => {
                chosen.hide(format!("`{path}` is neither a file nor a directory"));
                continue;
            }
        };
        lines.push((path, line));
    }
    let each = patterns.iter().map(|pattern| {
        let own = globs(std::slice::from_ref(pattern)).map_err(|why| wrong(dir, why))?;
        let own = lines.iter().filter(|(path, _)| own.is_match(path));
        let (count, text) = own.fold((0, String::new()), |(count, text), (_, line)| (count + 1, text + line));
        Ok((count, Digest::of(text)))
    });
    let stamp = Digest::of(stamps);
    Ok(FileDigests { each: each.collect::<Result<_, TreeError>>()?, hidden: chosen.hidden, stamp })
}

pub(super) fn wrong(dir: &Path, why: String) -> TreeError {
    disk(dir)(io::Error::new(io::ErrorKind::InvalidInput, why))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_globs_choose_is_digested_with_where_links_lead() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/a.rs", "a");
        write("src/deep/b.rs", "b");
        write(".git/c.rs", "c");
        write("data/one", "1");
        let patterns = ["src/**/*.rs".to_owned(), "c.rs".to_owned()];
        let digests = || digests_of_chosen(dir.path(), &patterns).unwrap();
        let first = digests();
        let counts: Vec<usize> = first.each.iter().map(|(count, _)| *count).collect();
        assert_eq!((counts, &first.hidden), (vec![2, 0], &None), "what `.git` holds is not chosen");
        write("other.txt", "x");
        assert_eq!(digests().each, first.each);
        write("src/a.rs", "changed");
        assert_ne!(digests().each[0], first.each[0]);
        assert_eq!(digests().each[1], first.each[1]);

        symlink("../data/one", dir.path().join("src/link.rs")).unwrap();
        let linked = digests();
        assert_eq!((linked.each[0].0, &linked.hidden), (3, &None));
        write("data/one", "2");
        assert_ne!(digests().each, linked.each, "the content behind a link counts");
        symlink("../data", dir.path().join("src/dir")).unwrap();
        assert!(digests().hidden.unwrap().contains("`src/dir` is a symbolic link"));
        fs::remove_file(dir.path().join("src/dir")).unwrap();
        symlink("/etc/hostname", dir.path().join("src/out.rs")).unwrap();
        assert!(digests().hidden.unwrap().contains("`src/out.rs`"));

        for refused in ["../x", "/etc/*", "["] {
            assert!(globs(&[refused.to_owned()]).is_err());
        }
    }

    #[test]
    fn a_glob_leads_into_the_directories_that_it_names() {
        let leads = |pattern: &str, path: &str| Way::of(pattern).leads_into(path);
        for (pattern, path) in
            [("out/**", "out"), ("out/*/x", "out/a"), ("{out,dist}/*", "dist"), ("out/**/x", "out/a/b")]
        {
            assert!(leads(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("out/**", "src"), ("**/x", "out"), ("x", "out"), ("out/*", "out/a/b")] {
            assert!(!leads(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn links_that_lead_out_are_known_by_their_words() {
        for (path, target, out) in [
            ("a/b", "c", false),
            ("a/b", "../c", false),
            ("a/b", "../../c", true),
            ("a/b", "/c", true),
            ("a", "b/../../c", true),
            ("a", "./b/../c", false),
        ] {
            assert_eq!(leads_out(path, Path::new(target)), out, "{path} {target}");
        }
    }
}
