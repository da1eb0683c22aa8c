//! A gigabyte from third-party programs, and bytes that are not text. Each gives an observation, and memory
//! does not grow with the amount of data.
#![expect(clippy::disallowed_methods, reason = "tests make files to serve and look at their own memory")]

use std::fs::File;

use atoll::runtime::service::{ReadinessCheck, RuntimeKind};
use atoll::scenario::{Observation, Shell, StepDecision, StepSeen};
use atoll::system_clock::SystemClock;

use super::peers::Peer;
use super::program::{python_server, reset};
use super::{brief, play_on, steps};
use crate::fifo::processes_with;
use crate::services::house;

const GIBIBYTE: u64 = 1 << 30;

/// Peak memory of this process, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Runs steps that receive a flood of data, and fails if memory has grown by more than `most` MiB.
async fn within(most: u64, text: &str, target: Option<&str>, shell: Option<&dyn Shell>) -> Observation {
    let before = peak();
    let seen = play_on(&steps(text), target, shell, &SystemClock, "").await;
    let grown = (peak() - before) >> 20;
    assert!(grown < most, "memory has grown by {grown} MiB");
    let told = serde_json::to_vec(&seen).unwrap().len();
    assert!(told < 1 << 20, "an observation of {told} bytes");
    seen
}

fn all_hold(seen: &Observation) {
    let failed: Vec<&StepSeen> =
        seen.steps.iter().filter(|step| step.decided != StepDecision::Held).collect();
    let failed: Vec<_> = failed.into_iter().map(brief).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_body_of_a_gibibyte_is_counted_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("large.bin")).unwrap().set_len(GIBIBYTE).unwrap();
    let server = python_server(dir.path()).await;
    let flood = "
- request: { method: GET, path: /large.bin, timeout: 4m }
  assert: { status: 200, header: { content-length: '1073741824' } }
- request: { method: GET, path: / }
  assert: { body: large.bin }
";
    let seen = within(64, flood, Some(&server.url), None).await;
    all_hold(&seen);
    let body = seen.steps[0].observed.as_ref().unwrap();
    assert_eq!((body.length, body.cut, body.lossy), (GIBIBYTE, true, false));
}

#[tokio::test]
async fn a_stream_of_events_without_end_is_kept_in_part() {
    let Some(peer) = Peer::start("event_server.py", "a_stream_of_events_without_end").await else { return };
    let flood = "
- request: { method: GET, path: /large, events: { count: 128, timeout: 4m } }
  assert: { count: 128 }
- request: { method: GET, path: /unbroken, events: { count: 1, timeout: 3s } }
  assert: { count: 0 }
- request: { method: GET, path: /small, events: { count: 2000, timeout: 4m } }
  assert: { count: 2000, json: { '$[0].data.n': 0 } }
";
    let seen = within(64, flood, Some(&format!("http://127.0.0.1:{}", peer.port)), None).await;
    all_hold(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_sends_without_end_is_kept_in_part() {
    let Some(mut peer) = Peer::start("ws_server.py", "a_socket_that_sends_without_end").await else { return };
    let flood = "
- ws: { url: /gibibyte, receive: { closed: true, timeout: 4m } }
  assert: { close: 1000, count: 1024 }
- ws: { url: /latin, id: latin, receive: {} }
  assert: { close: 1006, count: 0 }
- ws: { url: /drop, id: drop, send: x, receive: {} }
  assert: { close: 1006, count: 0 }
";
    let seen = within(256, flood, Some(&format!("http://127.0.0.1:{}", peer.port)), None).await;
    all_hold(&seen);
    let text = |step: usize| &seen.steps[step].observed.as_ref().unwrap().text;
    assert!(text(1).contains("Closed with code 1006: a text message is not UTF-8"), "{}", text(1));
    assert!(text(2).contains("Closed with code 1006: the connection was lost"), "{}", text(2));
    let said = peer.lines(6).await;
    assert_eq!(said.iter().filter(|line| line.starts_with("closed")).count(), 3, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_prints_a_gibibyte_is_cut_and_gone() {
    let Some(house) = house(RuntimeKind::Process, "a_command_that_prints_a_gibibyte").await else { return };
    let running = house.start("print('unused')\n", ReadinessCheck::None).await;
    let flood = "
- exec: { command: 'head -c 1073741824 /dev/zero', timeout: 4m }
  assert: { exit_code: 0 }
- exec: { command: \"head -c 1073741823 /dev/zero | tr '\\\\0' '\\\\377' >&2; echo end >&2; exit 3\", timeout: 4m }
  assert: { exit_code: 3, stderr: { contains: end } }
- exec: { command: 'exec yes 8e1f-flood', timeout: 2s }
  expect: it ends
";
    let seen = within(96, flood, None, Some(&running)).await;
    let decided: Vec<_> = seen.steps.iter().map(|step| step.decided).collect();
    assert_eq!(
        decided,
        [StepDecision::Held, StepDecision::Held, StepDecision::Open],
        "{}",
        brief(&seen.steps[1])
    );
    let [zeros, bytes, endless] = [0, 1, 2].map(|at| seen.steps[at].observed.as_ref().unwrap());
    assert!(zeros.stdout.as_ref().unwrap().contains("bytes left out"));
    assert!(bytes.stderr.as_ref().unwrap().ends_with("\u{FFFD}end\n"));
    assert!(endless.timed_out && endless.text.starts_with("Timed out after 2s and was killed\n"));
    assert_eq!(processes_with("8e1f-flood"), Vec::<String>::new());
    house.runtimes.stop(&running).await;
}

#[tokio::test]
async fn a_peer_that_resets_is_told_with_what_had_come() {
    let scenario = "- request: { method: GET, path: / }\n  assert: { status: 200 }\n";
    let first = play_on(&steps(scenario), Some(&reset(b"").await), None, &SystemClock, "").await;
    let error = first.steps[0].error.as_deref().unwrap();
    assert!(error.starts_with("no answer: ") && error.contains("reset"), "{error}");
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin\xFF";
    let later = play_on(&steps(scenario), Some(&reset(wire).await), None, &SystemClock, "").await;
    let error = later.steps[0].error.as_deref().unwrap();
    assert!(error.starts_with("the answer was interrupted after 6 bytes"), "{error}");
    let observed = later.steps[0].observed.as_ref().unwrap();
    assert_eq!((observed.body.as_deref(), observed.lossy), (Some("begin\u{FFFD}"), true));
}
