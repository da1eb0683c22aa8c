//! Attempts at cached steps that files belong to: the content of what they read is part of the key, and what they
//! produced is restored with their output.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::attempt::{Stop, Surroundings, granted, ran, unknown, within};
use super::inbox::Message;
use crate::engine::Attempt;
use crate::plan::CachedFiles;
use crate::store::Store;
use crate::tree::{Tree, digest_of_chosen};
use crate::value::{Digest, Value};
use crate::verb::{Class, Failure, Output};

/// Where the files of one attempt lie, and where outputs are recorded.
#[derive(Clone)]
struct Place {
    store: Arc<dyn Store>,
    project: PathBuf,
    files: Arc<CachedFiles>,
}

impl Surroundings {
    /// Uses a recorded output, or starts the verb; its report comes through the inbox.
    pub(super) fn run_cached(&self, mut attempt: Attempt) {
        let verb = self.house.catalog.find_verb(&attempt.name).cloned();
        let (Some(verb), Some(key), Some(files)) = (verb, attempt.key, attempt.files.clone()) else {
            return self.send(ran(&attempt, Err(unknown(&attempt.name)), false));
        };
        let granted = granted(&attempt);
        let cx = self.context(&attempt, &granted);
        let place = Place { store: self.house.store.clone(), project: self.house.project.clone(), files };
        let (outbox, secrets) = (self.outbox.clone(), self.house.secrets.clone());
        tokio::spawn(async move {
            let stop = Stop::of(&cx, attempt.timeout);
            let (with, first) = (std::mem::take(&mut attempt.with), attempt.number == 1);
            let hidden = secrets.clone();
            let working = async move {
                let (progress, before) = (cx.progress.clone(), place.clone());
                let (full, parts) = apart(move || before.key(key)).await?;
                progress.line(format!("cache key {}: {parts}", full.short()));
                let shelf = place.clone();
                // An output that was recorded and rejected is not used a second time.
                if first && let Some(value) = apart(move || shelf.recorded(&full)).await? {
                    return Ok((Output::free(value), true));
                }
                let mut output = verb.run(with, cx).await?;
                secrets.redact_value(&mut output.value);
                let value = output.value.clone();
                apart(move || place.record(&full, &value)).await?;
                Ok((output, false))
            };
            let report = match within(&stop, &granted, working).await {
                Ok((output, cached)) => ran(&attempt, Ok(output), cached),
                Err(failure) => ran(&attempt, Err(failure.redacted(&*hidden)), false),
            };
            // Where the loop has ended, nobody needs the report.
            outbox.send(Message::Report(report)).ok();
        });
    }
}

impl Place {
    /// The key with the content of the files that the step reads, and what it is made of.
    fn key(&self, key: Digest) -> Result<(Digest, String), Failure> {
        let CachedFiles { inputs, produces } = &*self.files;
        let (count, content) = digest_of_chosen(&self.project, inputs)?;
        let full = Digest::of(format!("{key}\n{content}\n{}", produces.join("\n")));
        let files = if count == 1 { "1 file" } else { "{} files" }.replace("{}", &count.to_string());
        Ok((full, format!("input {}, {files} of {} {}", key.short(), inputs.join(", "), content.short())))
    }

    /// The output on record, once the files that belong to it are back.
    fn recorded(&self, key: &Digest) -> Result<Option<Value>, Failure> {
        let Some(mut found) = self.store.cached(key).map_err(|e| Failure::transient(e.to_string()))? else {
            return Ok(None);
        };
        let Ok(tree) = serde_json::from_value::<Tree>(found["produced"].take()) else { return Ok(None) };
        // What cannot be restored is made again.
        Ok(tree.restore(&*self.store, &self.project).is_ok().then(|| found["output"].take()))
    }

    /// Records an output with the files that it produced.
    fn record(&self, key: &Digest, output: &Value) -> Result<(), Failure> {
        let tree = Tree::from_chosen(&*self.store, &self.project, &self.files.produces)?;
        let entry = json!({"output": output, "produced": tree});
        // A cache that cannot be written costs a later run its reuse, nothing more.
        self.store.cache(key, &entry).ok();
        Ok(())
    }
}

/// Does what waits for the disk on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Failure::new(Class::Bug, format!("reading files broke down: {e}"))))
}
