//! `reach`: checks whether an address accepts connections.
#![expect(clippy::disallowed_methods, reason = "a door: connects to the address, and waits between tries")]

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::verb::{Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `reach`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach;

/// The maximum duration of one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Input of `reach`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReachInput {
    /// Address with host and port, such as `http://127.0.0.1:8080`; the path is not requested.
    pub url: String,
    /// Maximum time to keep trying, in seconds; 0 for a single attempt.
    #[serde(default)]
    pub wait: f64,
}

/// Output of `reach`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReachOutput {
    /// Whether a connection was accepted.
    pub ok: bool,
    /// Reason why no connection was accepted, in one line; otherwise empty.
    pub reason: String,
    /// Number of attempts.
    pub attempts: u32,
}

impl Verb for Reach {
    const NAME: &'static str = "reach";
    const SUMMARY: &'static str = "check that an address accepts connections, and wait until it does";
    const TRAITS: Traits = Traits::repeatable("http");
    const EXAMPLE: &'static str = r#"
[steps.up]
reach = { url = "http://127.0.0.1:8080", wait = 30 }
"#;
    type With = ReachInput;
    type Out = ReachOutput;

    fn refusals(with: &ReachInput) -> Vec<Refusal> {
        let url = address(&with.url).err().map(|failure| Refusal::of("/url", failure));
        let wait = wait(with.wait).err().map(|failure| Refusal::of("/wait", failure));
        url.into_iter().chain(wait).collect()
    }

    async fn run(&self, with: ReachInput, cx: Context) -> Result<Output<ReachOutput>, Failure> {
        let (host, port) = address(&with.url)?;
        let wait = wait(with.wait)?;
        tokio::select! {
            out = dial(&host, port, wait) => Ok(Output::free(out)),
            () = cx.cancel.cancelled() => Err(Failure::cancelled()),
        }
    }
}

fn wait(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::permanent(format!("`wait` is {seconds}, not a number of seconds")))
}

fn address(url: &str) -> Result<(String, u16), Failure> {
    let wrong = |why: String| Failure::permanent(format!("`{url}` is not an address to connect to: {why}"));
    let parsed = reqwest::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
    let host = parsed.host_str().ok_or_else(|| wrong("it has no host".to_owned()))?;
    let port = parsed.port_or_known_default().ok_or_else(|| wrong("it has no port".to_owned()))?;
    // An IPv6 address has brackets in a URL, and none elsewhere.
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

async fn dial(host: &str, port: u16, wait: Duration) -> ReachOutput {
    let end = Instant::now() + wait;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let left = end.saturating_duration_since(Instant::now());
        let most = if wait.is_zero() { CONNECT_TIMEOUT } else { left.clamp(PAUSE, CONNECT_TIMEOUT) };
        let reason = match timeout(most, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => return ReachOutput { ok: true, reason: String::new(), attempts },
            Ok(Err(error)) => format!("{host}:{port}: {error}"),
            Err(_) => format!("{host}:{port}: no connection within {most:?}"),
        };
        if Instant::now() + PAUSE >= end {
            return ReachOutput { ok: false, reason, attempts };
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(address("http://127.0.0.1:81/x").unwrap(), ("127.0.0.1".to_owned(), 81));
        assert_eq!(address("https://example.test").unwrap(), ("example.test".to_owned(), 443));
        assert_eq!(address("http://[::1]:8080").unwrap(), ("::1".to_owned(), 8080));
        for bad in ["nonsense", "mailto:x", "foo://host"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_port_that_opens_later_is_waited_for() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let closed = dial("127.0.0.1", port, Duration::ZERO).await;
        assert!(!closed.ok && closed.attempts == 1 && closed.reason.contains("refused"), "{closed:?}");
        let opens = async {
            sleep(Duration::from_millis(300)).await;
            tokio::net::TcpListener::bind(("127.0.0.1", port)).await
        };
        let (out, listener) = tokio::join!(dial("127.0.0.1", port, Duration::from_secs(30)), opens);
        assert!(out.ok && out.attempts > 1, "{out:?}");
        drop(listener);
    }
}
