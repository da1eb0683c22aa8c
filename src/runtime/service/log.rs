use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

use crate::relay::BoundedOutput;
use crate::verb::Secrets;

/// Output of a service: all of it up to 1 MiB, then its beginning and its end. Shared and cheap to clone.
#[derive(Clone, Debug)]
pub struct Log(Arc<LogContent>, Option<Arc<Mutex<Retold>>>);

/// Content, and a notification for more.
#[derive(Debug)]
struct LogContent {
    kept: Mutex<BoundedOutput>,
    more: Notify,
    hidden: LogSecrets,
}

/// Secrets to mask in a log, in addition to those of the run.
#[derive(Default)]
struct LogSecrets(Mutex<Vec<Arc<dyn Secrets>>>);

impl std::fmt::Debug for LogSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

impl Default for Log {
    fn default() -> Self {
        let kept = Mutex::new(BoundedOutput::new(256 << 10, 768 << 10));
        Self(Arc::new(LogContent { kept, more: Notify::new(), hidden: LogSecrets::default() }), None)
    }
}

/// Forwards lines to another log.
#[derive(Debug)]
struct Retold {
    name: String,
    to: Log,
    line: Vec<u8>,
}

/// Most bytes of a forwarded line; longer lines are split, with an ellipsis between the parts.
const LONGEST_LINE: usize = 8 << 10;

impl Retold {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(LONGEST_LINE)) {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.tell();
            } else if self.line.len() >= LONGEST_LINE {
                // The ellipsis also shows where the rest of a secret may be.
                self.line.extend_from_slice("…".as_bytes());
                self.tell();
                self.line.extend_from_slice("…".as_bytes());
            }
        }
    }

    fn tell(&mut self) {
        let mut told = format!("{} | ", self.name).into_bytes();
        told.append(&mut self.line);
        if !told.ends_with(b"\n") {
            told.push(b'\n');
        }
        self.to.push(&told);
    }
}

impl Drop for Retold {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.tell();
        }
    }
}

impl Log {
    /// A log whose lines are also forwarded to `combined_log`, with `name` before each.
    pub fn telling(name: &str, combined_log: &Self) -> Self {
        let retold = Retold { name: name.to_owned(), to: combined_log.clone(), line: Vec::new() };
        Self(Self::default().0, Some(Arc::new(Mutex::new(retold))))
    }

    /// The log to which lines are forwarded, or itself.
    #[must_use]
    pub fn combined_log(&self) -> Self {
        let told = self.1.as_ref().map(|told| told.lock().unwrap_or_else(PoisonError::into_inner).to.clone());
        told.unwrap_or_else(|| self.clone())
    }

    /// Adds output.
    pub fn push(&self, bytes: &[u8]) {
        self.lock().push(bytes);
        if let Some(retold) = &self.1 {
            retold.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
        self.0.more.notify_waiters();
    }

    /// Adds `secrets` to those that [`Log::redact`] masks.
    pub fn hide(&self, secrets: &Arc<dyn Secrets>) {
        let mut hidden = self.0.hidden.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !hidden.iter().any(|known| Arc::ptr_eq(known, secrets)) {
            hidden.push(secrets.clone());
        }
    }

    /// `text` of the log with secrets masked.
    pub fn redact(&self, text: &str) -> String {
        let hidden = self.0.hidden.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hidden.iter().fold(text.to_owned(), |text, secrets| secrets.redact(&text))
    }

    /// Waits for more output, which may never come.
    pub async fn grows(&self) {
        self.0.more.notified().await;
    }

    /// All output until now.
    pub fn text(&self) -> String {
        self.since(0)
    }

    /// Length of the output in bytes, for [`Log::since`].
    pub fn mark(&self) -> u64 {
        self.lock().total()
    }

    /// Output since `mark`.
    pub fn since(&self, mark: u64) -> String {
        String::from_utf8_lossy(&self.lock().since(mark).bytes).into_owned()
    }

    /// The last `most` bytes, after a note if there was more.
    pub fn tail(&self, most: usize) -> String {
        let text = self.text();
        if text.len() <= most {
            return text;
        }
        let mut from = text.len() - most;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        format!("[… {from} bytes left out …]\n{}", &text[from..])
    }

    /// Starts a task that adds everything from `from`; it ends with the stream.
    pub(in crate::runtime) fn keep(
        &self,
        from: impl AsyncRead + Unpin + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let (log, mut from) = (self.clone(), from);
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(n @ 1..) = from.read(&mut buffer).await {
                log.push(&buffer[..n]);
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BoundedOutput> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_to_another_log_behind_a_name() {
        let combined_log = Log::default();
        let (db, app) = (Log::telling("db", &combined_log), Log::telling("app", &combined_log));
        db.push(b"star");
        app.push(b"one\ntwo\n");
        db.push(b"ted\nlast");
        drop(db);
        assert_eq!(combined_log.text(), "app | one\napp | two\ndb | started\ndb | last\n");
        assert_eq!(app.text(), "one\ntwo\n");
        assert_eq!(
            (app.combined_log().text(), combined_log.combined_log().text()),
            (combined_log.text(), combined_log.text())
        );
    }

    #[test]
    fn a_tail_never_loses_the_end() {
        let log = Log::default();
        log.push("é".repeat(100).as_bytes());
        log.push(b"the end");
        assert!(log.tail(10).ends_with("the end"));
        assert!(log.tail(10).starts_with("[… "));
        assert_eq!(log.tail(1000), log.text());
    }
}
