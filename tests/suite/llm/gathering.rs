//! Requests that share a batch: when it is closed, and what happens if callers leave or return.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll::clock::{Clock, ManualClock, Millis, Sleep};
use atoll::llm::{
    BatchHandle, BatchOptions, CallContext, CassetteMode, ChatMessage, HandleStore, ModelRequest, Models,
    StoreFuture,
};
use atoll::verb::Progress;
use futures_util::poll;

use super::bureau::Bureau;
use super::server;
use crate::scenario::QuickClock;

/// Stores one location, or never finishes storing it.
#[derive(Default)]
struct Memory {
    place: Mutex<Option<BatchHandle>>,
    stuck: bool,
}

impl HandleStore for Memory {
    fn find(&self, _: &str) -> Option<BatchHandle> {
        self.place.lock().unwrap().clone()
    }
    fn keep(&self, _: &str, place: BatchHandle) -> StoreFuture<'_, ()> {
        *self.place.lock().unwrap() = Some(place);
        if self.stuck { Box::pin(pending()) } else { Box::pin(async { Ok(()) }) }
    }
    fn forget(&self, _: &str) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn lose(&self, _: &str) -> StoreFuture<'_, u32> {
        Box::pin(async { Ok(1) })
    }
    fn pay(&self, _: &str) -> bool {
        false
    }
}

/// Requests `item NUMBER` in a batch.
async fn ask(models: &Models, number: usize, places: &Memory, clock: &Arc<dyn Clock>) -> String {
    let request = ModelRequest {
        model: "gpt-4.1-mini".to_owned(),
        messages: vec![ChatMessage::user(format!("item {number}"))],
        ..ModelRequest::default()
    };
    let entry = BatchOptions { sample: 0, again: false, places, clock, progress: &Progress::silent() };
    let asking = CallContext {
        at: &number.to_string(),
        idempotency_key: "key",
        on_chunk: &|_| {},
        say: &|_| {},
        sent: &|| {},
        waits: &(),
        budget: &(),
        elsewhere: false,
        clock: &**clock,
        batch: Some(entry),
    };
    models.ask(&request, asking).await.unwrap().0.text
}

/// Half a second passes on command of the test, any other time at once.
#[derive(Clone, Default)]
struct HalfSeconds {
    half_seconds: ManualClock,
    rest: QuickClock,
}

impl Clock for HalfSeconds {
    fn now(&self) -> Millis {
        self.half_seconds.now()
    }

    fn sleep(&self, span: Duration) -> Sleep {
        if span == Duration::from_millis(500) { self.half_seconds.sleep(span) } else { self.rest.sleep(span) }
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_batch_is_closed_when_no_more_requests_come() {
    let bureau = Bureau::start().await;
    let time = HalfSeconds::default();
    let clock: Arc<dyn Clock> = Arc::new(time.clone());
    let models = server::models(&bureau.base, &CassetteMode::Off);
    let passes = async |span: u64| {
        settle().await;
        time.half_seconds.advance(Duration::from_millis(span));
        settle().await;
        assert_eq!(bureau.counts().calls, 0, "it is open");
    };
    let memories = [(); 3].map(|()| Memory::default());
    let asked = |number: usize| Box::pin(ask(&models, number, &memories[number], &clock));
    let (mut first, mut second, mut third) = (asked(0), asked(1), asked(2));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    passes(499).await;
    assert!(poll!(&mut third).is_pending());
    passes(1).await;
    passes(499).await;
    time.half_seconds.advance(Duration::from_millis(1));
    assert_eq!(futures_util::join!(third, first, second).0, "to: item 2");
    assert_eq!((bureau.counts().made, bureau.batches()[0].entries.len()), (1, 3));
}

#[tokio::test]
async fn whoever_leaves_before_it_is_sealed_is_not_in_it() {
    let bureau = Bureau::start().await;
    let clock: Arc<dyn Clock> = Arc::new(QuickClock::default());
    let models = bureau.models(2, &CassetteMode::Off);
    let (stays, leaves) = (Memory::default(), Memory { stuck: true, ..Memory::default() });
    let mut leaving = Box::pin(ask(&models, 0, &leaves, &clock));
    let mut staying = Box::pin(ask(&models, 1, &stays, &clock));
    for _ in 0..50 {
        assert!(poll!(&mut leaving).is_pending() && poll!(&mut staying).is_pending());
        tokio::task::yield_now().await;
    }
    let numbered = stays.place.lock().unwrap().clone().unwrap();
    assert_eq!((numbered.entry, numbered.of, bureau.counts().calls), (1, 2, 0));
    drop(leaving);
    assert_eq!(staying.await, "to: item 1");
    let place = stays.place.lock().unwrap().clone().unwrap();
    assert_eq!((place.entry, place.of, place.batch.as_deref()), (0, 1, Some("batch_1")));
    assert_ne!(place.batch_tag, numbered.batch_tag, "it is another batch");
    assert_eq!(bureau.batches()[0].entries.len(), 1);
}

#[tokio::test]
async fn whoever_comes_back_waits_with_the_others() {
    let bureau = Bureau::start().await.hold();
    let clock: Arc<dyn Clock> = Arc::new(QuickClock::default());
    let models = bureau.models(2, &CassetteMode::Off);
    let (stays, leaves) = (Memory::default(), Memory::default());
    let staying = ask(&models, 1, &stays, &clock);
    let coming_back = async {
        tokio::select! {
            biased;
            text = ask(&models, 0, &leaves, &clock) => panic!("{text}"),
            _ = bureau.until(|counts| counts.looks > 0) => {}
        }
        let looked = bureau.counts().looks;
        let back = ask(&models, 0, &leaves, &clock);
        let release = async {
            bureau.until(|counts| counts.looks > looked).await;
            bureau.let_go();
        };
        futures_util::join!(back, release).0
    };
    assert_eq!(futures_util::join!(staying, coming_back), ("to: item 1".to_owned(), "to: item 0".to_owned()));
    let contents = bureau.calls().iter().filter(|call| call.ends_with("/content")).count();
    assert_eq!((bureau.counts().made, contents), (1, 1), "the results are fetched once, for both");
}
