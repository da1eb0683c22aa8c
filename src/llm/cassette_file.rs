//! Cassette files, for listing and removing answers.

use std::path::Path;

use super::cassette::{CassetteError, CassetteLine, read_text};
use crate::rooted_fs::RootedFs;
use crate::value::Value;

/// The lines of the cassette at `path` as JSON.
pub fn recorded(path: &Path) -> Result<Vec<Value>, CassetteError> {
    Ok(lines(path)?.into_iter().map(|(_, value)| value).collect())
}

/// Removes every answer for which `goes` returns true, and returns their number. The other lines stay byte
/// for byte. The file is replaced as a whole.
pub fn prune(path: &Path, goes: impl Fn(&Value) -> bool) -> Result<usize, CassetteError> {
    let lines = lines(path)?;
    let all = lines.len();
    let stay: Vec<String> =
        lines.into_iter().filter(|(_, value)| !goes(value)).map(|(text, _)| text).collect();
    if stay.len() < all {
        replace(path, &stay.concat()).map_err(|e| wrong(path, format!("cannot be written: {e}")))?;
    }
    Ok(all - stay.len())
}

fn wrong(path: &Path, message: String) -> CassetteError {
    CassetteError { path: path.display().to_string(), message }
}

fn lines(path: &Path) -> Result<Vec<(String, Value)>, CassetteError> {
    let text = read_text(path).map_err(|e| wrong(path, format!("cannot be read: {e}")))?;
    let mut lines = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let broken =
            |e: serde_json::Error| wrong(path, format!("line {} is not a recorded answer: {e}", number + 1));
        serde_json::from_str::<CassetteLine>(line).map_err(broken)?;
        lines.push((line.to_owned(), serde_json::from_str(line).map_err(broken)?));
    }
    Ok(lines)
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default();
    RootedFs::open(dir)?.replace(Path::new(name), text.as_bytes())
}
