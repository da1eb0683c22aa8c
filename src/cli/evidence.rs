//! `validate --evidence DIR`: evidence of failed steps as files: screenshots, answers, logs. Names come from
//! scenarios, which are not trusted: other characters than letters, digits, `-`, `_` and `.` are replaced,
//! and everything is written below the directory through handles.

use std::path::{Path, PathBuf};

use crate::cli::error::CommandError;
use crate::rooted_fs::RootedFs;
use crate::store::Store;
use crate::value::{Digest, Value};

/// The maximum total size, in bytes.
const MOST: u64 = 512 << 20;

/// The maximum length of a part of a name that comes from a scenario, in characters.
const LONGEST: usize = 60;

/// The directory for evidence.
pub struct EvidenceDir {
    /// Path as the user wrote it.
    pub shown: PathBuf,
    /// Absolute path.
    pub path: PathBuf,
}

struct EvidenceWriter<'a> {
    store: &'a dyn Store,
    /// `None` writes nothing.
    to: Option<(&'a EvidenceDir, RootedFs)>,
    written: u64,
    left_out: usize,
}

/// The outputs of a validation in which failed steps and failed setups have the paths of their files as
/// `attachments`; and the number of files that were not written. Without `dir`, no step has any.
pub fn attach(
    mut outputs: Value,
    store: &dyn Store,
    dir: Option<&EvidenceDir>,
) -> Result<(Value, usize), CommandError> {
    let to = match dir {
        Some(dir) => {
            let opened = RootedFs::create(&dir.path).map_err(|e| cannot(&dir.shown, &e))?;
            Some((dir, opened))
        }
        None => None,
    };
    let mut writer = EvidenceWriter { store, to, written: 0, left_out: 0 };
    let scenarios = outputs.get_mut("scenarios").and_then(Value::as_array_mut);
    for (n, scenario) in scenarios.into_iter().flatten().enumerate() {
        let folder = format!("{:03}-{}", n + 1, plain(scenario["id"].as_str().unwrap_or_default()));
        if let Some(broken) = scenario.get_mut("broken").filter(|broken| broken.is_object()) {
            let number = broken["step"].as_u64().unwrap_or(0) + 1;
            writer.step(broken, &folder, &format!("setup-{number}"), true)?;
        }
        for step in scenario.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
            let number = step["index"].as_u64().unwrap_or(0) + 1;
            let has_failed = step["passed"] == false;
            writer.step(step, &folder, &format!("step-{number}"), has_failed)?;
        }
    }
    Ok((outputs, writer.left_out))
}

impl EvidenceWriter<'_> {
    fn step(
        &mut self,
        step: &mut Value,
        folder: &str,
        stem: &str,
        has_failed: bool,
    ) -> Result<(), CommandError> {
        let Some(table) = step.as_object_mut() else { return Ok(()) };
        let evidence = table.shift_remove("evidence").unwrap_or_default();
        if !has_failed || self.to.is_none() {
            return Ok(());
        }
        let mut attachments: Vec<Value> = Vec::new();
        for one in evidence.as_array().into_iter().flatten() {
            let Some(digest) = one["digest"].as_str().and_then(Digest::parse) else { continue };
            let name = plain(one["name"].as_str().unwrap_or_default());
            let ending = ending(one["media_type"].as_str().unwrap_or_default());
            let bytes = self.store.get(&digest)?;
            attachments.extend(self.put(&format!("{folder}/{stem}-{name}.{ending}"), &bytes)?);
        }
        let log = table.get("log").and_then(Value::as_str).unwrap_or_default();
        if !log.trim().is_empty() {
            attachments.extend(self.put(&format!("{folder}/{stem}-log.txt"), log.as_bytes())?);
        }
        if !attachments.is_empty() {
            table.insert("attachments".to_owned(), attachments.into());
        }
        Ok(())
    }

    /// Writes a file, and returns its path as the user would write it.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<Option<Value>, CommandError> {
        let Some((dir, root)) = &self.to else { return Ok(None) };
        if self.written.saturating_add(bytes.len() as u64) > MOST {
            self.left_out += 1;
            return Ok(None);
        }
        self.written += bytes.len() as u64;
        let shown = dir.shown.join(name);
        root.put(Path::new(name), bytes, false).map_err(|e| cannot(&shown, &e))?;
        Ok(Some(shown.display().to_string().into()))
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("cannot write the evidence {}: {error}", path.display()))
}

/// `text` as a part of a file name.
fn plain(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let text: String = text.chars().take(LONGEST).map(|c| if is_plain(c) { c } else { '-' }).collect();
    if text.is_empty() { "none".to_owned() } else { text }
}

/// HTML pages of a program get an extension with which a browser does not execute them.
fn ending(media_type: &str) -> &'static str {
    match media_type.split(';').next().unwrap_or_default().trim() {
        "image/png" => "png",
        "application/json" => "json",
        "application/xml" | "text/html" => "txt",
        text if text.starts_with("text/") => "txt",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_scenarios_lead_nowhere() {
        assert_eq!(plain("../../etc/passwd"), "..-..-etc-passwd");
        assert_eq!(plain("a b]]\u{202e}"), "a-b---");
        assert_eq!((plain(""), plain(&"x".repeat(500)).len()), ("none".to_owned(), LONGEST));
        assert_eq!((ending("text/html; charset=utf-8"), ending("image/svg+xml")), ("txt", "bin"));
    }
}
