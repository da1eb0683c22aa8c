//! Files that steps may write: files that other programs execute or obey need the user's permission.

use std::borrow::Cow;
use std::path::Path;

use crate::tree::{Unusual, bare_repository, belongs_to_bare, folded, unusual, visible};
use crate::verb::{Class, Context, Failure, Grants};

/// The effect of the file at `path` on other programs; `None` for a usual file, and for one that the user
/// allows.
pub fn found(path: &str, grants: &Grants) -> Option<Unusual> {
    if grants.allows_file(path) {
        return None;
    }
    let reserved = || grants.is_reserved(&folded(path)).then_some(Unusual::Obeyed("atoll"));
    unusual(path).or_else(reserved)
}

/// The part of `target` that is checked: the path from the project or from the directory of the run if it is
/// in there (then `true`), else the whole path.
fn described<'a>(target: &'a Path, cx: &Context) -> (Cow<'a, str>, bool) {
    let (kept, project) = (&cx.workspace.kept, &cx.workspace.project);
    let real = [kept, project].map(|dir| dir.canonicalize().unwrap_or_else(|_| dir.clone()));
    let below = [kept, &real[0], project, &real[1]].into_iter().find_map(|dir| target.strip_prefix(dir).ok());
    (below.unwrap_or(target).to_string_lossy(), below.is_some())
}

/// The effect of the file at `target`, and its path. In the project and in the directory of the run only the
/// path from there counts; elsewhere every directory counts, except temporary ones.
fn found_at(target: &Path, cx: &Context) -> Option<(Unusual, String)> {
    let (path, is_below) = described(target, cx);
    if cx.grants.allows_file(&path) {
        return None;
    }
    let names = path.split('/').filter(|name| !name.is_empty());
    let names: Vec<&str> = names.filter(|name| is_below || !name.starts_with(".tmp")).collect();
    Some((found(&names.join("/"), &cx.grants)?, path.into_owned()))
}

/// The failure of writing at `target`, if a directory around it is a bare git repository, or becomes one.
pub fn in_repository(target: &Path) -> Option<Failure> {
    let dir = target.ancestors().skip(1).find(|dir| {
        let first = target.strip_prefix(dir).ok().and_then(|rest| rest.components().next());
        let first = first.map(|first| first.as_os_str().to_string_lossy());
        first.is_some_and(|first| belongs_to_bare(&first, |name| dir.join(name).symlink_metadata().is_ok()))
    })?;
    let message = format!(
        "{} is refused: with it, {} is a git repository, whose configuration git would obey",
        target.display(),
        dir.display()
    );
    Some(Failure::permanent(message).hint("write it to another directory"))
}

/// The failure of writing the file at `target`.
pub fn unwritable(target: &Path, cx: &Context) -> Option<Failure> {
    if let Some(failure) = in_repository(target) {
        return Some(failure);
    }
    let (unusual, path) = found_at(target, cx)?;
    Some(match unusual {
        Unusual::Refused(why) => {
            Failure::permanent(format!("this path is refused: {why}")).hint("write to another path")
        }
        Unusual::Obeyed(who) => Failure::new(
            Class::Auth,
            format!("`{}` is obeyed by {who} automatically, and writing it is not allowed", visible(&path)),
        )
        .hint(format!(
            "check what would be written, then allow it: `atoll resume {} --allow-file '{}'`",
            cx.run,
            literal(&path)
        )),
    })
}

/// The failure of writing the files at `paths`, for the model or author that wrote them.
pub fn refusal<'a>(paths: impl Iterator<Item = &'a str>, cx: &Context) -> Option<Failure> {
    for path in paths {
        match found(path, &cx.grants) {
            None => {}
            Some(Unusual::Refused(why)) => {
                return Some(
                    Failure::rejected(format!("this path is refused: {why}"))
                        .hint("give the file another path"),
                );
            }
            Some(Unusual::Obeyed(who)) => {
                return Some(
                    Failure::rejected(format!("`{path}` is refused: it is obeyed by {who}"))
                        .hint("leave it out; the user can allow it with `--allow-file`"),
                );
            }
        }
    }
    None
}

/// The failure of a delivery to `into`, until the user allows what needs permission. `all` are all paths of
/// the tree, `paths` those that are not already the user's. Both the path in the tree and the full path are
/// checked.
pub fn undeliverable<'a>(
    into: &Path,
    all: &(impl Iterator<Item = &'a str> + Clone),
    paths: impl Iterator<Item = &'a str>,
    cx: &Context,
) -> Option<Failure> {
    if let Some(failure) = in_repository(into) {
        return Some(failure);
    }
    // Allowing a directory allows its files. For an empty tree, only the directory of future files is known.
    let is_allowed = cx.grants.allows_file(&described(into, cx).0);
    let is_open = || is_allowed || cx.grants.allows_file(&described(&into.join("file"), cx).0);
    if all.clone().next().is_none()
        && !is_open()
        && let Some(failure) = unwritable(into, cx)
    {
        return Some(failure);
    }
    if let Some(dir) = bare_repository(all) {
        let dir = if dir.is_empty() { "the tree".to_owned() } else { format!("`{dir}`") };
        return Some(Failure::permanent(format!(
            "{dir} is a git repository, whose configuration git would obey: it is not delivered"
        )));
    }
    let mut asks = Vec::new();
    for path in paths {
        let in_tree = found(path, &cx.grants).map(|unusual| (unusual, path.to_owned()));
        let at_place = || {
            let is_allowed = is_allowed || cx.grants.allows_file(path);
            if is_allowed { None } else { found_at(&into.join(path), cx) }
        };
        match in_tree.or_else(at_place) {
            None => {}
            Some((Unusual::Refused(why), _)) => {
                return Some(Failure::permanent(format!("a file is not delivered: {why}")));
            }
            Some((Unusual::Obeyed(who), path)) => asks.push((path, who)),
        }
    }
    if asks.is_empty() {
        return None;
    }
    let list: Vec<String> = asks.iter().map(|(path, who)| format!("  {path} (obeyed by {who})")).collect();
    let options: Vec<String> =
        asks.iter().map(|(path, _)| format!("--allow-file '{}'", literal(path))).collect();
    let message = format!(
        "the program has files that other programs obey automatically, and writing them is not allowed:\n{}",
        list.join("\n")
    );
    Some(Failure::new(Class::Auth, message).hint(format!(
        "check them, then allow them: `atoll resume {} {}`",
        cx.run,
        options.join(" ")
    )))
}

/// The glob that matches only `path`.
fn literal(path: &str) -> String {
    globset::escape(path)
}
