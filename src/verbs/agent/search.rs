//! Search for a regular expression in files.

use std::path::Path;

use globset::Glob;
use regex::Regex;
use serde::Deserialize;

use super::tools::{LARGEST, prefix};
use super::workspace::WorkspaceFiles;

/// The maximum number of matches shown, and of characters of a line.
const MAX_MATCHES: usize = 100;
const WIDTH: usize = 240;
/// The maximum length of a glob in bytes: braces in it nest.
const LONGEST: usize = 500;

/// The pattern and where to search.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchArgs {
    pattern: String,
    #[serde(default)]
    path: String,
    glob: Option<String>,
}

/// Every line that matches, as `path:line: text`.
pub(super) fn search(search: &SearchArgs, workspace: &WorkspaceFiles) -> Result<String, String> {
    let pattern = Regex::new(&search.pattern).map_err(|e| format!("the pattern is wrong: {e}"))?;
    if search.glob.as_ref().is_some_and(|glob| glob.len() > LONGEST) {
        return Err(format!("the glob is wrong: it is longer than {LONGEST} bytes"));
    }
    let glob = search.glob.as_ref().map(|glob| {
        let anywhere = if glob.contains('/') { glob.clone() } else { format!("**/{glob}") };
        Glob::new(&anywhere).map(|glob| glob.compile_matcher()).map_err(|e| format!("the glob is wrong: {e}"))
    });
    let glob = glob.transpose()?;
    // A file may be named as well as a directory.
    let below = prefix(&search.path)?;
    let listing = workspace.list(&|_| false).map_err(|e| e.to_string())?;
    let wanted = listing.files.iter().filter(|file| {
        (file.path.starts_with(&below) || below.strip_suffix('/') == Some(&file.path))
            && glob.as_ref().is_none_or(|glob| glob.is_match(&file.path))
    });
    let (mut lines, mut more) = (Vec::new(), 0);
    for file in wanted {
        let Ok(bytes) = workspace.fs.read(Path::new(&file.path), LARGEST) else { continue };
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        for (n, line) in text.lines().enumerate().filter(|(_, line)| pattern.is_match(line)) {
            if lines.len() < MAX_MATCHES {
                let shown: String = line.chars().take(WIDTH).collect();
                let more = if shown.len() < line.len() { "…" } else { "" };
                lines.push(format!("{}:{}: {shown}{more}", file.path, n + 1));
            } else {
                more += 1;
            }
        }
    }
    if more > 0 {
        lines.push(format!("[… {more} more lines]"));
    }
    Ok(if lines.is_empty() { "[nothing]".to_owned() } else { lines.join("\n") })
}
