//! Attempts of cached steps, and their keys. If a step declares files, the content of the files that it reads
//! is part of the key, and the files that it produced are restored with its output.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::attempt::{AttemptEnv, StopCondition, attempt_report, reserved_meter, run_bounded, unknown_verb};
use super::inbox::Message;
use super::output_cache::{CachedOutput, FOREIGN_OUTPUT, OutputCache};
use crate::engine::{Attempt, CacheKey, KeyFiles, Report};
use crate::plan::CachedFiles;
use crate::tree::{Products, digests_of_chosen};
use crate::value::{Digest, DigestPart, Value, digest_of_fields};
use crate::verb::{Class, Failure, Output};

/// The locations of the files of one attempt, and of recorded outputs.
#[derive(Clone)]
struct CacheLocation {
    shelf: OutputCache,
    project: PathBuf,
    files: Arc<CachedFiles>,
}

/// The key of an attempt without declared files, and its parts.
fn key_of(attempt: &Attempt, key: Digest) -> CacheKey {
    CacheKey {
        key,
        verb: attempt.name.to_string(),
        input: digest_of_fields([("with", DigestPart::Value(&attempt.with))]),
        schema: attempt.schema.as_ref().map(|schema| Digest::of(schema.canonical().as_bytes())),
        files: Vec::new(),
        produces: Vec::new(),
    }
}

impl AttemptEnv {
    /// Records the parts of the key of a cached attempt without declared files.
    pub(super) fn tell_key(&self, attempt: &Attempt) {
        if let (Some(key), true) = (attempt.key, attempt.cache) {
            let (address, key) = (attempt.address.clone(), key_of(attempt, key));
            let report = Report::Keyed { address, attempt: attempt.number, key };
            // If the loop has ended, this is not needed.
            self.outbox.send(Message::Meanwhile(report)).ok();
        }
    }

    /// Uses a recorded output, or starts the verb; its report comes through the inbox.
    pub(super) fn run_cached(&self, mut attempt: Attempt) {
        let verb = self.house.catalog.find_verb(&attempt.name).cloned();
        let (Some(verb), Some(key), Some(files)) = (verb, attempt.key, attempt.files.clone()) else {
            return self.send(attempt_report(&attempt, Err(unknown_verb(&attempt.name)), false));
        };
        let granted = reserved_meter(&attempt);
        let cx = self.context(&attempt, &granted);
        let place = CacheLocation { shelf: self.output_cache(), project: self.house.project.clone(), files };
        let (outbox, secrets) = (self.outbox.clone(), self.house.secrets.clone());
        let key = self.cache_key(&attempt, key);
        let (plain, address, number) = (key_of(&attempt, key), attempt.address.clone(), attempt.number);
        let told = self.outbox.clone();
        tokio::spawn(async move {
            let stop = StopCondition::of(&cx, attempt.timeout);
            let (with, first) = (std::mem::take(&mut attempt.with), attempt.number == 1);
            let hidden = secrets.clone();
            let working = async move {
                let (progress, before, again) = (cx.progress.clone(), place.clone(), plain.clone());
                let (made, hidden_files, stamp) = on_blocking_thread(move || before.key(plain)).await?;
                progress.line(format!("cache key {}: {}", made.key.short(), key_summary(&made)));
                let full = made.key;
                told.send(Message::Meanwhile(Report::Keyed { address, attempt: number, key: made })).ok();
                if let Some(why) = hidden_files {
                    progress
                        .line(format!("warning: not cached, a change in `inputs` may go unnoticed: {why}"));
                    return Ok((verb.run(with, cx).await?, false));
                }
                let shelf = place.clone();
                // An output that was recorded and rejected is not used a second time.
                if first {
                    match on_blocking_thread(move || shelf.recorded(&full)).await? {
                        CachedOutput::Output(value) => return Ok((Output::free(value), true)),
                        CachedOutput::Foreign => progress.line(format!("warning: {FOREIGN_OUTPUT}")),
                        CachedOutput::Nothing => {}
                    }
                }
                let mut output = verb.run(with, cx).await?;
                secrets.redact_value(&mut output.value);
                let value = output.value.clone();
                let recorded = on_blocking_thread(move || {
                    // An input may have changed during the attempt; it is unknown which version was read.
                    let (now, _, written) = place.key(again)?;
                    if now.key != full || written != stamp {
                        return Ok(Some("a file of `inputs` was changed while it ran".to_owned()));
                    }
                    let unrecorded = place.record(&full, &value);
                    Ok(unrecorded.map(|why| format!("`produces` cannot be recorded: {why}")))
                });
                if let Some(why) = recorded.await? {
                    progress.line(format!("warning: not cached, {why}"));
                }
                Ok((output, false))
            };
            let report = match run_bounded(&stop, &granted, working).await {
                Ok((output, cached)) => attempt_report(&attempt, Ok(output), cached),
                Err(failure) => attempt_report(&attempt, Err(failure.redacted(&*hidden)), false),
            };
            // If the loop has ended, the report is not needed.
            outbox.send(Message::Report(report)).ok();
        });
    }
}

impl CacheLocation {
    /// `plain` extended with the content of the files that the step reads, the reason why that may be
    /// incomplete, and a stamp that changes when one of the files is written.
    /// of them has been written.
    fn key(&self, plain: CacheKey) -> Result<(CacheKey, Option<String>, Digest), Failure> {
        let CachedFiles { inputs, produces } = &*self.files;
        let digests = digests_of_chosen(&self.project, inputs)?;
        let chosen = inputs.iter().cloned().zip(digests.each);
        let files: Vec<KeyFiles> =
            chosen.map(|(glob, (count, content))| KeyFiles { glob, count, content }).collect();
        let contents: Vec<String> = files.iter().map(|files| files.content.to_string()).collect();
        let text = format!("{}\n{}\n{}", plain.key, contents.join(" "), produces.join("\n"));
        let key = CacheKey { key: Digest::of(text), files, produces: produces.clone(), ..plain };
        Ok((key, digests.hidden, digests.stamp))
    }

    /// The recorded output, after its files are restored.
    fn recorded(&self, key: &Digest) -> Result<CachedOutput, Failure> {
        let found = self.shelf.find(key).map_err(|e| Failure::transient(e.to_string()))?;
        let CachedOutput::Output(mut found) = found else { return Ok(found) };
        let produced = serde_json::from_value::<Products>(found["produced"].take());
        let Ok(produced) = produced else { return Ok(CachedOutput::Nothing) };
        // If restoring fails, the step is run again.
        let is_back = produced.restore(&*self.shelf.store, &self.project).is_ok();
        Ok(if is_back { CachedOutput::Output(found["output"].take()) } else { CachedOutput::Nothing })
    }

    /// Records an output with its files, if all of them can be recorded; otherwise returns the reason.
    fn record(&self, key: &Digest, output: &Value) -> Option<String> {
        let produced = match Products::keep(&*self.shelf.store, &self.project, &self.files.produces) {
            Ok(produced) => produced,
            Err(why) => return Some(why),
        };
        let entry = json!({"output": output, "produced": produced});
        self.shelf.put(key, &entry);
        None
    }
}

/// The parts of a key on one line.
fn key_summary(key: &CacheKey) -> String {
    let mut parts = vec![format!("input {}", key.input.short())];
    parts.extend(key.schema.map(|schema| format!("schema {}", schema.short())));
    for KeyFiles { glob, count, content } in &key.files {
        let files = if *count == 1 { "file" } else { "files" };
        parts.push(format!("{count} {files} of {glob} {}", content.short()));
    }
    parts.join(", ")
}

/// Runs blocking file access on a thread of its own.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Failure::new(Class::Bug, format!("internal error while reading files: {e}"))))
}
