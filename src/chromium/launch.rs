//! Starts Chromium, and ends it with all its children.
#![expect(clippy::disallowed_methods, reason = "a door: starts Chromium and removes its files")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::time::timeout;

use super::ChromiumSettings;
use super::devtools::DevTools;
use crate::relay::BoundedOutput;
use crate::rooted_fs::remove_tree;
use crate::verb::Failure;

/// Names of the program. The first one is Chromium without windows, which starts twice as fast and opens
/// pages ten times as fast.
const NAMES: [&str; 6] = [
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Command-line flags.
const FLAGS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    "--window-size=1280,720",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-features=BackForwardCache,DialMediaRouteProvider,MediaRouter,OptimizationHints,Translate",
    "--disable-popup-blocking",
    "--disable-prompt-on-repost",
    "--disable-quic",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--force-color-profile=srgb",
    // WebRTC uses only the proxy of the context and sends no datagrams.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--hide-scrollbars",
    "--lang=en-US",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--use-mock-keychain",
    // The same flag for Chromium with windows.
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
];

/// Passes the two pipes to Chromium on the expected file descriptors. Chromium ends when they close, also
/// if this process is killed; then this shell removes its files.
const SCRIPT: &str = r#""$@" 3<&0 4>&1 </dev/null >/dev/null; rm -rf "$HOME""#;

/// Time limit for its first answer.
const START: Duration = Duration::from_secs(30);

/// A running process. Dropping it kills it with all its children.
pub struct ChromiumProcess {
    pub(super) wire: DevTools,
    group: Option<Pid>,
    home: TempDir,
}

/// Starts Chromium, with rules for the names that it can resolve.
pub async fn launch(settings: &ChromiumSettings, names: Option<&str>) -> Result<ChromiumProcess, Failure> {
    let program = find(settings)?;
    let ours = |e: std::io::Error| Failure::transient(format!("cannot start Chromium: {e}"));
    let home = tempfile::Builder::new().prefix("atoll-browser-").tempdir().map_err(ours)?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "sh"]).arg(&program).args(FLAGS);
    if nix::unistd::geteuid().is_root() {
        // Otherwise it refuses to start as root.
        command.arg("--no-sandbox");
    }
    if let Some(names) = names {
        command.arg(format!("--host-resolver-rules={names}"));
    }
    command.arg(format!("--user-data-dir={}", home.path().display())).arg("about:blank");
    command.env_clear().env("PATH", &settings.path).env("HOME", home.path()).env("LANG", "en_US.UTF-8");
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(ours)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let (Some(to), Some(from), Some(log)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::transient("cannot communicate with Chromium"));
    };
    let running = ChromiumProcess { wire: DevTools::new(to, from), group, home };
    let log = keep(log);
    let ended = tokio::spawn(async move { child.wait().await });
    let first = running.wire.call(None, "Browser.getVersion", json!({}));
    let why = match timeout(START, first).await {
        Ok(Ok(_)) => return Ok(running),
        Ok(Err(_)) => "it ended",
        Err(_) => "it does not answer",
    };
    drop(running);
    let _ = timeout(Duration::from_secs(1), ended).await;
    let log = log.lock().unwrap_or_else(PoisonError::into_inner).all();
    let log = String::from_utf8_lossy(&log.bytes).trim().to_owned();
    Err(Failure::permanent(format!("Chromium did not start: {why}: {log}"))
        .hint(format!("check the output of `{} --headless --dump-dom about:blank`", program.display())))
}

/// Reads its standard error while it runs, and keeps the beginning and the end.
fn keep(mut from: ChildStderr) -> Arc<Mutex<BoundedOutput>> {
    let kept = Arc::new(Mutex::new(BoundedOutput::new(1000, 1000)));
    let into = kept.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..n]);
        }
    });
    kept
}

fn find(settings: &ChromiumSettings) -> Result<PathBuf, Failure> {
    let on_path = |name: &str| {
        let dirs = settings.path.split(':').filter(|dir| !dir.is_empty()).map(Path::new);
        dirs.map(|dir| dir.join(name)).find(|file| is_program(file))
    };
    if let Some(named) = &settings.program {
        let found = if named.contains('/') {
            Some(PathBuf::from(named)).filter(|file| is_program(file))
        } else {
            on_path(named)
        };
        return found.ok_or_else(|| {
            Failure::permanent(format!("ATOLL_CHROMIUM names `{named}`, which is not a program"))
                .hint("set ATOLL_CHROMIUM to the path of Chromium, or unset it to search PATH")
        });
    }
    NAMES.into_iter().find_map(on_path).ok_or_else(|| {
        Failure::permanent("`browser` steps need Chromium, and none is on PATH").hint(
            "install it (`apt-get install chromium-headless-shell` or `chromium`), or set ATOLL_CHROMIUM to its path",
        )
    })
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Drop for ChromiumProcess {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
        // Processes that are being killed may still write a last file.
        for _ in 0..20 {
            if remove_tree(self.home.path()).is_ok() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chromium_that_is_not_there_is_refused_with_what_to_do() {
        let refused = |program: Option<&str>| {
            let settings = ChromiumSettings { program: program.map(Into::into), path: "/no/such/dir".into() };
            find(&settings).unwrap_err()
        };
        let failure = refused(None);
        assert_eq!(failure.message, "`browser` steps need Chromium, and none is on PATH");
        assert!(failure.hint.unwrap().contains("apt-get install chromium"));
        assert!(refused(Some("/no/such/file")).message.contains("ATOLL_CHROMIUM names `/no/such/file`"));
        let named = ChromiumSettings { program: Some("sh".into()), path: "/bin".into() };
        assert_eq!(find(&named).unwrap(), Path::new("/bin/sh"));
    }

    #[tokio::test]
    async fn a_program_that_is_no_chromium_shows_what_it_said() {
        let program = Some("/bin/false".to_owned()).filter(|file| Path::new(file).exists());
        let settings =
            ChromiumSettings { program: program.or(Some("/usr/bin/false".into())), path: "/bin".into() };
        let failure = launch(&settings, None).await.err().unwrap();
        assert!(failure.message.starts_with("Chromium did not start: it ended"), "{failure:?}");
    }
}
