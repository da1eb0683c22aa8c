//! Was it made? Asked for a tag that was noted before its batch was about to be made.

use std::time::Duration;

use super::api::BatchStatus;
use super::client::BatchClient;
use super::{BatchHandle, api};
use crate::clock::millis;
use crate::verb::Failure;

/// Most pages of a list that are looked through.
const PAGES: usize = 50;
/// How far the clocks of a provider and of this machine may be apart.
const SKEW: Duration = Duration::from_secs(3_600);
/// A provider may still be at work on a call that was cut off: so long after it was about to be made, a batch that is not
/// on the list was not made. Between two looks at the list there is at most so much time.
const SETTLED: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A batch ends after a day; so long, and a little, one that may be ours is waited for.
const LONGEST: Duration = Duration::from_secs(26 * 3_600);

/// What the provider calls the batch at `place`, if there is one.
pub(super) async fn seek(
    wire: &BatchClient<'_>,
    place: &BatchHandle,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Option<String>, Failure> {
    let clock = &*wire.context.clock;
    let mut pause = wire.context.terms.poll.0;
    loop {
        // What is asked for after that moment would be on the list by then.
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

/// The same by what is on the list now.
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
    // Whoever keeps no tag says what the requests are called, which begins with it: but only at the end.
    for batch in listed.iter().filter(|batch| may_be(batch, place)) {
        if is_ours(wire, batch, place, say).await? {
            return Ok(batch.named());
        }
    }
    Ok(None)
}

/// All batches on the list of the provider that are not older than `place`.
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
        "cannot tell whether {} has the batch {} already: its list does not end",
        wire.provider().name,
        place.batch_tag
    );
    Err(Failure::permanent(message).hint("look for it there, and cancel it or wait for its end"))
}

fn is_young(batch: &BatchStatus, place: &BatchHandle) -> bool {
    batch.made_at.is_none_or(|made_at| made_at.saturating_add(millis(SKEW)) >= place.at)
}

fn may_be(batch: &BatchStatus, place: &BatchHandle) -> bool {
    batch.batch_tag.is_none() && batch.total == u64::from(place.of)
}

/// Whether `batch`, which says nothing of us, holds our requests. One that still goes on is waited for: asking anew
/// could mean to pay twice.
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
                "{} does not say whose batch {} is before it has ended, and it may be this one: waiting for it",
                wire.provider().name,
                batch.id
            ));
        }
        if wire.context.clock.now().saturating_sub(begun) > millis(LONGEST) {
            return Err(Failure::permanent(format!("the batch {} does not end", batch.id)));
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
            // Results that are no longer kept are those of another time.
            Err(failure) if failure.status() == Some(404) => {}
            read => read?,
        }
    }
    Ok(ours)
}
