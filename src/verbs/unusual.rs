//! Which files a step may write: unusual ones only with the user's consent.

use crate::tree::{Unusual, bare_repository, unusual};
use crate::verb::{Class, Context, Failure};

/// What is wrong with writing the files at `paths`, in words for whoever wrote them.
pub fn refusal<'a>(paths: impl Iterator<Item = &'a str>, cx: &Context) -> Option<Failure> {
    for path in paths.filter(|path| !cx.grants.allows_file(path)) {
        match unusual(path) {
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

/// The same for a delivery, which waits until the user allows what needs consent. `all` are all paths of the tree, `paths` those
/// that are not the user's own already.
pub fn undeliverable<'a>(
    all: &(impl Iterator<Item = &'a str> + Clone),
    paths: impl Iterator<Item = &'a str>,
    cx: &Context,
) -> Option<Failure> {
    if let Some(dir) = bare_repository(all) {
        let dir = if dir.is_empty() { "the tree".to_owned() } else { format!("`{dir}`") };
        return Some(Failure::permanent(format!(
            "{dir} is a git repository, whose configuration git would obey: it is not delivered"
        )));
    }
    let mut asks = Vec::new();
    for path in paths.filter(|path| !cx.grants.allows_file(path)) {
        match unusual(path) {
            None => {}
            Some(Unusual::Refused(why)) => {
                return Some(Failure::permanent(format!("a file is not delivered: {why}")));
            }
            Some(Unusual::Obeyed(who)) => asks.push((path, who)),
        }
    }
    if asks.is_empty() {
        return None;
    }
    let list: Vec<String> = asks.iter().map(|(path, who)| format!("  {path} (obeyed by {who})")).collect();
    let options: Vec<String> =
        asks.iter().map(|(path, _)| format!("--allow-file '{}'", literal(path))).collect();
    let message = format!(
        "the program has files that others obey without being asked, and you have not allowed that:\n{}",
        list.join("\n")
    );
    Some(Failure::new(Class::Auth, message).hint(format!(
        "look at them, then allow them: `atoll resume {} {}`",
        cx.run,
        options.join(" ")
    )))
}

/// The glob that matches `path` alone.
fn literal(path: &str) -> String {
    globset::escape(path)
}
