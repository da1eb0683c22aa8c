//! Finds out whether a batch was created, by the tag that was recorded before the attempt.

use std::time::Duration;

use super::api::BatchStatus;
use super::client::BatchClient;
use super::{BatchHandle, api};
use crate::clock::millis;
use crate::verb::Failure;

/// Most pages of a list that are read.
const PAGES: usize = 50;
/// Maximum difference between the clocks of a provider and of this machine.
const SKEW: Duration = Duration::from_secs(3_600);
/// Time after which an interrupted call has certainly been processed, so that a batch that is not listed
/// does not exist. Also the longest pause between two checks.
const SETTLED: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long to wait for a batch that may be ours: a batch ends after a day.
const LONGEST: Duration = Duration::from_secs(26 * 3_600);

/// The provider's id of the batch at `place`, if it exists.
pub(super) async fn seek(
    wire: &BatchClient<'_>,
    place: &BatchHandle,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Option<String>, Failure> {
    let clock = &*wire.context.clock;
    let mut pause = wire.context.terms.poll.0;
    loop {
        // After that time, the batch would be listed.
        let late = clock.now().saturating_sub(place.at) >= millis(SETTLED);
        if let Some(found) = listed(wire, place, say).await? {
            return Ok(Some(found));
        }
        if late {
            return Ok(None);
        }
        clock.sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Checks the current list.
async fn listed(
    wire: &BatchClient<'_>,
    place: &BatchHandle,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Option<String>, Failure> {
    let listed = batches(wire, place).await?;
    if let Some(ours) =
        listed.iter().find(|batch| batch.batch_tag.as_deref() == Some(place.batch_tag.as_str()))
    {
        return Ok(ours.named());
    }
    // Providers without tags return the names of requests, which begin with the tag, but only after the end.
    for batch in listed.iter().filter(|batch| may_be(batch, place)) {
        if is_ours(wire, batch, place, say).await? {
            return Ok(batch.named());
        }
    }
    Ok(None)
}

/// All listed batches that are not older than `place`.
async fn batches(wire: &BatchClient<'_>, place: &BatchHandle) -> Result<Vec<BatchStatus>, Failure> {
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = wire.get(&wire.form.list(wire.provider(), after.as_deref())).await?;
        let (batches, next) = wire.form.listed(&page);
        found.extend(batches.into_iter().filter(|batch| is_young(batch, place)));
        after = next;
        if after.is_none() {
            return Ok(found);
        }
    }
    let marked = found.iter().any(|batch| batch.batch_tag.as_deref() == Some(place.batch_tag.as_str()));
    if marked {
        return Ok(found);
    }
    let message = format!(
        "cannot determine whether {} already has the batch {}: its list of batches is too long",
        wire.provider().name,
        place.batch_tag
    );
    Err(Failure::permanent(message)
        .hint("check the batch at the provider, and cancel it or wait for its end"))
}

fn is_young(batch: &BatchStatus, place: &BatchHandle) -> bool {
    batch.made_at.is_none_or(|made_at| made_at.saturating_add(millis(SKEW)) >= place.at)
}

fn may_be(batch: &BatchStatus, place: &BatchHandle) -> bool {
    batch.batch_tag.is_none() && batch.total == u64::from(place.of)
}

/// Whether `batch`, which has no tag, contains our requests. Waits for it if it is still running, because a
/// new batch could mean paying twice.
async fn is_ours(
    wire: &BatchClient<'_>,
    batch: &BatchStatus,
    place: &BatchHandle,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<bool, Failure> {
    let url = wire.form.look(wire.provider(), &batch.id);
    let begun = wire.context.clock.now();
    let mut pause = wire.context.terms.poll.0;
    let mut told = false;
    loop {
        if wire.context.models.batches().knows(&batch.id) {
            return Ok(false);
        }
        let body = wire.get(&url).await?;
        if wire.form.state(&body).ended.is_some() {
            return begins_with(wire, &body, &place.batch_tag).await;
        }
        if !std::mem::replace(&mut told, true) {
            say(format!(
                "{} does not reveal the owner of batch {} before its end; it may be the batch of this run: waiting for it",
                wire.provider().name,
                batch.id
            ));
        }
        if wire.context.clock.now().saturating_sub(begun) > millis(LONGEST) {
            return Err(Failure::permanent(format!("the batch {} did not end in time", batch.id)));
        }
        wire.context.clock.sleep(pause).await;
        pause = pause.saturating_mul(2).min(wire.context.terms.poll.1);
    }
}

async fn begins_with(
    wire: &BatchClient<'_>,
    batch: &serde_json::Value,
    batch_tag: &str,
) -> Result<bool, Failure> {
    let mut ours = false;
    for results in wire.form.results(wire.provider(), batch) {
        let api::ResultsLocation::At(url) = results else { continue };
        let first = |result| {
            let (name, _) = wire.form.result(result);
            ours = name.is_some_and(|name| name.starts_with(batch_tag));
            false
        };
        match wire.lines(&url, first).await {
            // Expired results are too old to be ours.
            Err(failure) if failure.status() == Some(404) => {}
            read => read?,
        }
    }
    Ok(ours)
}
