//! Waits until a service is ready, or until it is clear that it will not be.
#![expect(clippy::disallowed_methods, reason = "times its probes with the system clock")]

use std::future::pending;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::complaint::complaint;
use super::{Backend, ExecSpec, Log, ReadinessCheck};
use crate::relay::{self, Probe};

/// A command that has run for at least this time at the deadline counts as hanging.
const HANGS: Duration = Duration::from_secs(1);

/// Resolves when the service on `port` is ready, or with the last problem after `within`.
pub(super) async fn wait(
    ready: &ReadinessCheck,
    within: Duration,
    (socket, port): (&Path, u16),
    backend: &dyn Backend,
    log: &Log,
) -> Result<(), String> {
    let deadline = Instant::now() + within;
    let pattern = match ready {
        ReadinessCheck::None => return Ok(()),
        ReadinessCheck::Log(pattern) => {
            Some(Regex::new(pattern).map_err(|e| format!("`ready.log` is not a regular expression: {e}"))?)
        }
        ReadinessCheck::Http(_) | ReadinessCheck::Tcp | ReadinessCheck::Command(_) => None,
    };
    let mut missing = None;
    let mut pace = Duration::from_millis(20);
    loop {
        let look = async {
            match (&pattern, ready) {
                (Some(pattern), _) if pattern.is_match(&log.text()) => Ok(()),
                (Some(pattern), _) => Err(format!("no line of its log matches `{pattern}`")),
                (None, ReadinessCheck::Http(path)) => http(socket, port, path).await,
                (None, ReadinessCheck::Command(line)) => command(backend, line, deadline).await,
                (None, _) => tcp(socket, port).await,
            }
        };
        let begun = Instant::now();
        match (timeout_at(deadline, look).await, ready) {
            (Ok(Ok(())), _) => return Ok(()),
            (Ok(Err(why)), _) => missing = Some(why),
            (Err(_), ReadinessCheck::Http(_)) => {
                missing = Some("it accepts connections but does not answer".to_owned());
            }
            // A check that only ran out of time is less informative than the one before it.
            (Err(_), ReadinessCheck::Command(line)) if missing.is_none() || begun.elapsed() >= HANGS => {
                missing = Some(format!("`{line}` does not end"));
            }
            (Err(_), _) => {}
        }
        if timeout_at(deadline, sleep(pace)).await.is_err() {
            let missing = missing.as_deref().unwrap_or("it was not checked yet");
            return Err(format!("not ready within {within:?}: {missing}"));
        }
        pace = (pace * 3 / 2).min(Duration::from_millis(250));
    }
}

async fn command(backend: &dyn Backend, line: &str, deadline: Instant) -> Result<(), String> {
    let spec = ExecSpec::shell(line, deadline.saturating_duration_since(Instant::now()));
    match backend.exec(spec).await {
        // It was interrupted by our deadline, which is reported elsewhere.
        Ok(report) if report.exit_code.is_none() => pending().await,
        Ok(report) => complaint(line, &report).map_or(Ok(()), Err),
        Err(failure) => Err(format!("`{line}` cannot be run: {}", failure.message)),
    }
}

async fn tcp(socket: &Path, port: u16) -> Result<(), String> {
    open(socket, port).await.map(drop)
}

async fn open(socket: &Path, port: u16) -> Result<tokio::net::UnixStream, String> {
    match relay::connect(socket, port).await {
        Ok((Probe::Open, stream)) => Ok(stream),
        Ok((Probe::LoopbackOnly, _)) => Err(format!(
            "it listens only on 127.0.0.1:{port}, which cannot be reached from outside its container: it must listen on 0.0.0.0"
        )),
        Ok((Probe::Refused, _)) => Err(format!("nothing listens on port {port}")),
        Err(e) => Err(format!("the connection to it failed: {e}")),
    }
}

async fn http(socket: &Path, port: u16, path: &str) -> Result<(), String> {
    let mut stream = open(socket, port).await?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let request = format!(
        "GET {slash}{path} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let closed = |e: std::io::Error| format!("GET {slash}{path}: {e}");
    stream.write_all(request.as_bytes()).await.map_err(closed)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < 4096 {
        match stream.read(&mut chunk).await.map_err(closed)? {
            0 => break,
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()) {
        Some(status) if line.starts_with("HTTP/") && status < 500 => Ok(()),
        Some(status) if line.starts_with("HTTP/") => Err(format!("GET {slash}{path} returned {status}")),
        _ => Err(format!("GET {slash}{path} returned no HTTP answer")),
    }
}
