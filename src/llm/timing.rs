//! Timing of the pieces of an answer, for cassettes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Millis};

/// A piece of an answer: milliseconds after the request, and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimedPiece(pub(super) Millis, pub(super) usize);

/// Records the times of pieces.
pub(super) struct Stopwatch<'a> {
    clock: &'a dyn Clock,
    begun: Millis,
    pieces: Mutex<Vec<TimedPiece>>,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn start(clock: &'a dyn Clock) -> Self {
        Self { clock, begun: clock.now(), pieces: Mutex::default() }
    }

    /// Records a piece. Pieces of the same millisecond are merged.
    pub(super) fn hear(&self, text: &str) {
        let at = self.clock.now().saturating_sub(self.begun);
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        match pieces.last_mut() {
            Some(last) if last.0 == at => last.1 += text.len(),
            _ => pieces.push(TimedPiece(at, text.len())),
        }
    }

    pub(super) fn stop(self) -> Vec<TimedPiece> {
        self.pieces.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replays `text` with the recorded pieces and times. The rest comes with the last piece.
pub(super) async fn play(
    text: &str,
    pieces: &[TimedPiece],
    say: &(dyn Fn(&str) + Send + Sync),
    clock: &dyn Clock,
) {
    let begun = clock.now();
    let mut rest = text;
    for (n, TimedPiece(at, length)) in pieces.iter().enumerate() {
        let wait = at.saturating_sub(clock.now().saturating_sub(begun));
        if wait > 0 {
            clock.sleep(Duration::from_millis(wait)).await;
        }
        let last = n + 1 == pieces.len();
        let whole = (*length..=rest.len()).find(|end| rest.is_char_boundary(*end));
        let end = whole.filter(|_| !last).unwrap_or(rest.len());
        let (piece, left) = rest.split_at(end);
        say(piece);
        rest = left;
    }
    if pieces.is_empty() {
        say(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn an_answer_comes_again_as_it_came() {
        let clock = ManualClock::at(1_000);
        let watch = Stopwatch::start(&clock);
        watch.hear("Grü");
        clock.advance(Duration::from_millis(40));
        watch.hear("ße, ");
        watch.hear("Welt");
        let pieces = watch.stop();
        assert_eq!(pieces, [TimedPiece(0, 4), TimedPiece(40, 9)]);
        let heard: Mutex<Vec<(Millis, String)>> = Mutex::default();
        let say = |piece: &str| heard.lock().unwrap().push((clock.now(), piece.to_owned()));
        let begun = clock.now();
        let mut playing = Box::pin(play("Grüße, Welt", &pieces, &say, &clock));
        assert!(futures_util::poll!(&mut playing).is_pending(), "the second piece is not due");
        clock.advance(Duration::from_millis(40));
        playing.await;
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard, [(begun, "Grü".to_owned()), (begun + 40, "ße, Welt".to_owned())]);
    }
}
