//! What a page can reach: the target and nothing else on this machine, by any protocol.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{Chromium, ChromiumSettings, assert_all_hold, browse, chromium};
use crate::scenario::steps;

/// Tries every way out, one after the other, and reports when it is done.
const PAGE: &str = include_str!("reach.html");

/// Loads a module and fetches, from a worker.
const WORKER: &str = "
fetch('OTHER/from-worker', { mode: 'no-cors' }).catch(() => {});
try { importScripts('OTHER/imported-by-worker.js') } catch (error) {}
try { new WebSocket('ws://AUTHORITY/socket-of-worker') } catch (error) {}
self.addEventListener('install', event => event.waitUntil(
  fetch('OTHER/from-service-worker', { mode: 'no-cors' }).catch(() => {})));
if (self.postMessage && !self.registration) self.postMessage('done');
";

/// A TCP and UDP port of this machine that nothing may reach.
struct Forbidden {
    port: u16,
    udp: UdpSocket,
    came: Arc<Mutex<Vec<String>>>,
}

impl Forbidden {
    async fn new() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        udp.set_nonblocking(true).unwrap();
        let came = Arc::new(Mutex::new(Vec::new()));
        let kept = came.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut head = vec![0; 200];
                let length = stream.read(&mut head).await.unwrap_or(0);
                kept.lock().unwrap().push(format!("TCP {:?}", String::from_utf8_lossy(&head[..length])));
            }
        });
        Self { port, udp, came }
    }

    /// Everything that was received.
    fn all(&self) -> Vec<String> {
        let mut all = self.came.lock().unwrap().clone();
        all.extend(datagrams(&self.udp));
        all
    }
}

fn datagrams(socket: &UdpSocket) -> Vec<String> {
    let mut bytes = [0; 512];
    let next = || {
        socket
            .recv(&mut bytes)
            .ok()
            .map(|length| format!("UDP {:?}", String::from_utf8_lossy(&bytes[..length])))
    };
    std::iter::from_fn(next).collect()
}

/// A target with a page that tries to reach `other`, and whether a WebSocket of the page has reached the
/// target.
async fn target(other: u16) -> (String, Arc<AtomicBool>) {
    let filled = move |text: &str| {
        let authority = format!("127.0.0.1:{other}");
        text.replace("OTHER", &format!("http://{authority}"))
            .replace("AUTHORITY", &authority)
            .replace("PORT", &other.to_string())
    };
    let page = move |headers: HeaderMap| async move {
        let policy = filled("img-src 'self'; report-uri OTHER/policy");
        let own = headers["host"].to_str().unwrap().rsplit(':').next().unwrap().to_owned();
        ([("content-security-policy-report-only", policy)], Html(filled(PAGE).replace("OWN", &own)))
            .into_response()
    };
    let worker =
        move || async move { ([("content-type", "text/javascript")], filled(WORKER)).into_response() };
    let leads = move || async move {
        Response::builder()
            .status(302)
            .header("location", filled("OTHER/redirected"))
            .body(String::new())
            .unwrap()
    };
    let is_reached = Arc::new(AtomicBool::new(false));
    let reached = is_reached.clone();
    let socket = move || async move { reached.store(true, Ordering::SeqCst) };
    let app = Router::new()
        .route("/", any(page))
        .route("/worker.js", any(worker))
        .route("/leads", any(leads))
        .route("/own-socket", any(socket));
    (crate::scenario::program::serve(app).await, is_reached)
}

const STEPS: &str = "
- browser: { action: navigate, url: /, timeout: 60s }
- browser: { action: wait, selector: '#said', text: done, timeout: 60s }
- browser: { action: click, selector: '#ping', timeout: 5s }
  expect: x
- browser: { action: navigate, url: /leads, timeout: 5s }
  expect: x
";

#[tokio::test]
async fn nothing_but_the_target_is_reached_by_any_way() {
    let Some(chromium) = chromium("nothing_but_the_target_is_reached").await else { return };
    let forbidden = Forbidden::new().await;
    let (url, is_reached) = target(forbidden.port).await;
    // The target uses TCP; a UDP socket on the same port is another program.
    let own: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let datagrams_of_target = UdpSocket::bind(("127.0.0.1", own)).unwrap();
    datagrams_of_target.set_nonblocking(true).unwrap();
    let mut seen = browse(&chromium, &steps(STEPS), &url, None).await;
    let said = super::text(&seen.steps[1]).to_owned();
    seen.steps.truncate(2);
    assert_all_hold(&seen);
    assert!(is_reached.load(Ordering::SeqCst), "the target itself is reached: {said}");
    assert_eq!(forbidden.all(), Vec::<String>::new(), "{said}");
    assert_eq!(datagrams(&datagrams_of_target), Vec::<String>::new(), "{said}");
}

/// Chromium that uses the DNS server `server`.
fn asking(dir: &Path, server: &str) -> Option<PathBuf> {
    let on_path = |names: &[&str]| {
        std::env::var("PATH")
            .unwrap()
            .split(':')
            .find_map(|dir| names.iter().map(|name| Path::new(dir).join(name)).find(|file| file.exists()))
    };
    let (bwrap, program) = (on_path(&["bwrap"])?, on_path(&["chromium-headless-shell", "chromium"])?);
    let conf = dir.join("resolv.conf");
    std::fs::write(&conf, format!("nameserver {server}\noptions timeout:1 attempts:1\n")).unwrap();
    let file = dir.join("asking-chromium");
    let text = format!(
        "#!/bin/sh\nexec {} --dev-bind / / --ro-bind {} /etc/resolv.conf {} \"$@\"\n",
        bwrap.display(),
        conf.display(),
        program.display()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(file)
}

/// A DNS lookup would send any data of a page to another machine.
#[tokio::test]
async fn no_name_is_asked_for() {
    let test = "no_name_is_asked_for";
    let dir = tempfile::tempdir().unwrap();
    let Ok(names) = UdpSocket::bind("127.0.0.77:53") else {
        println!("skipped: {test}: only root can listen for names");
        return;
    };
    names.set_nonblocking(true).unwrap();
    let Some(program) = asking(dir.path(), "127.0.0.77") else {
        println!("skipped: {test}: no bubblewrap or Chromium");
        return;
    };
    let settings = ChromiumSettings {
        program: Some(program.display().to_string()),
        path: std::env::var("PATH").unwrap_or_default(),
    };
    let chromium = Chromium::new(settings);
    chromium.ready().await.unwrap();
    let (url, _) = target(Forbidden::new().await.port).await;
    let mut seen = browse(&chromium, &steps(STEPS), &url, None).await;
    seen.steps.truncate(2);
    assert_all_hold(&seen);
    let asked: Vec<_> = datagrams(&names).into_iter().filter(|question| question.contains("leak")).collect();
    assert_eq!(asked, Vec::<String>::new());
}
