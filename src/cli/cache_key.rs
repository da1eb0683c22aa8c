//! The parts of the key of a cached step: they show why a recorded output was reused or not.

use std::fmt::Write as _;

use crate::cli::app::App;
use crate::cli::error::CommandError;
use crate::cli::stored_run::StoredRun;
use crate::engine::{CacheKey, Fact, KeyFiles, Record};
use crate::id::Address;
use crate::report::Paint;
use crate::report::units::harmless;

/// The key of the last attempt in `records`, part by part.
pub fn parts<'a>(records: impl IntoIterator<Item = &'a Record>) -> Option<String> {
    let mut found: Option<&CacheKey> = None;
    let mut used = false;
    for record in records {
        match &record.fact {
            Fact::CacheKey(key) => found = Some(key),
            Fact::Succeeded { cached, .. } => used = *cached,
            _ => {}
        }
    }
    let key = found?;
    let mut text = String::new();
    let came = if used { "a recorded output was reused" } else { "no recorded output was reused" };
    let _ = writeln!(text, "  key      {}: {came}", key.key.short());
    let _ = writeln!(text, "  verb     {}", key.verb);
    let _ = writeln!(text, "  input    {}", key.input.short());
    if let Some(schema) = &key.schema {
        let _ = writeln!(text, "  schema   {}", schema.short());
    }
    for KeyFiles { glob, count, content } in &key.files {
        let files = if *count == 1 { "file" } else { "files" };
        let _ = writeln!(text, "  inputs   {}: {count} {files}, {}", harmless(glob), content.short());
    }
    for glob in &key.produces {
        let _ = writeln!(text, "  produces {}", harmless(glob));
    }
    Some(text)
}

/// Explains the key of the cached step at `address` of a run.
pub fn explain(app: &App, run: &str, address: &str, paint: Paint) -> Result<String, CommandError> {
    let stored = StoredRun::find(app, run)?;
    let address = Address::new(address);
    let mut records: Vec<Record> = Vec::new();
    stored.read(|_, record| {
        if record.address == address {
            records.push(record);
        }
    })?;
    if records.is_empty() {
        let stop = CommandError::usage(format!("run {} has nothing recorded at `{address}`", stored.run()));
        return Err(stop.hint(format!("`atoll show {}` lists its steps", stored.run())));
    }
    match parts(&records) {
        Some(text) => Ok(format!(
            "{} {address} of run {}\n{}",
            paint.strong("cache key of"),
            stored.run(),
            text.trim_end()
        )),
        None => Err(CommandError::usage(format!("`{address}` has no cache key")).hint(
            "only steps with `cache = true` have one, in runs of this version; \
             steps that `--replan` reused have none",
        )),
    }
}
