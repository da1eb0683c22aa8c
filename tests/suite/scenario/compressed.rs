//! Compressed bodies, as servers may write them.

use std::io::Write as _;

use atoll::scenario::{Observation, StepDecision};
use atoll::system_clock::SystemClock;

use super::peers::Peer;
use super::program::raw;
use super::{play_on, steps, told};

async fn get(peer: &Peer, path: &str, assert: &str) -> Observation {
    let url = format!("http://127.0.0.1:{}", peer.port);
    let text = format!("- request: {{ method: GET, path: {path} }}\n  assert: {{ {assert} }}\n");
    play_on(&steps(&text), Some(&url), None, &SystemClock, "").await
}

#[tokio::test]
async fn what_was_compressed_is_read_whole() {
    let Some(peer) = Peer::start("raw_server.py", "what_was_compressed_is_read_whole").await else { return };
    let first = "body: { equals: 'first,' }, header: { content-encoding: { exists: false } }";
    for (path, assert) in [
        ("/two", "body: { equals: 'first,second' }"),
        ("/followed", first),
        ("/capitals", first),
        ("/x-gzip", first),
        ("/twice", first),
        ("/deflated", first),
        ("/lines", first),
        ("/zlib", first),
        ("/raw", first),
        ("/raw-large", "body: { length: 600000 }"),
        ("/nothing", "body: { equals: '' }"),
        ("/unknown", "header: { content-encoding: 'gzip, aes128gcm' }"),
        ("/under", "body: { equals: 'first,' }, header: { content-encoding: aes128gcm }"),
        ("/bomb", "status: 200"),
    ] {
        let seen = get(&peer, path, assert).await;
        assert_eq!(seen.steps[0].decided, StepDecision::Held, "{path}: {}", told(&seen));
        if path == "/bomb" {
            let body = seen.steps[0].observed.as_ref().unwrap();
            assert_eq!((body.length, body.cut), (5_000_000, true));
        }
    }
}

#[tokio::test]
async fn what_is_cut_or_broken_is_said_by_name() {
    let Some(peer) = Peer::start("raw_server.py", "what_is_cut_or_broken_is_said").await else { return };
    for (path, error) in [
        ("/cut", "the body cannot be decompressed after 6 bytes: the `gzip` data is incomplete"),
        ("/cut-head", "the body cannot be decompressed after 0 bytes: the `gzip` data is incomplete"),
        ("/cut-second", "the body cannot be decompressed after 12 bytes: the `gzip` data is incomplete"),
        ("/cut-raw", "the `deflate` data is incomplete"),
        ("/cut-inner", "the body cannot be decompressed after 6 bytes: the `gzip` data is incomplete"),
        ("/broken", "the body cannot be decompressed after 6 bytes: it is not valid `gzip`: "),
        ("/none", "the body cannot be decompressed after 0 bytes: it is not valid `gzip`: "),
        ("/many", "the body is compressed 5 times, more than 4"),
    ] {
        let seen = get(&peer, path, "status: 200").await;
        let said = seen.steps[0].error.as_deref().unwrap_or_default();
        assert!(said.contains(error), "{path}: {said}");
        assert_eq!(seen.steps[0].decided, StepDecision::Failed, "{path}");
    }
}

#[tokio::test]
async fn events_are_seen_as_they_come_also_if_they_are_compressed() {
    let Some(peer) = Peer::start("raw_server.py", "events_are_seen_as_they_come").await else { return };
    let url = format!("http://127.0.0.1:{}", peer.port);
    let text = "- request: { method: GET, path: /events, events: { count: 2, timeout: 20s } }\n  assert: { count: 2 }\n";
    let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
    assert_eq!(seen.steps[0].decided, StepDecision::Held, "{}", told(&seen));
    assert!(
        seen.steps[0].observed.as_ref().unwrap().text.contains("2 events; enough came"),
        "{}",
        told(&seen)
    );
}

#[tokio::test]
async fn every_frame_of_zstd_is_read() {
    let frame = b"\x28\xb5\x2f\xfd\x04\x58\x89\x00\x00{\"say\":\"Gr\xc3\xb6\xc3\x9fe\"}\x2a\xb6\x34\xbc";
    let skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc";
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: zstd\r\n\r\n";
    let answer = [head.as_slice(), frame, skipped, frame].concat().leak();
    let text = "- request: { method: GET, path: / }\n  assert: { body: { equals: '{\"say\":\"Gr\u{F6}\u{DF}e\"}{\"say\":\"Gr\u{F6}\u{DF}e\"}' } }\n";
    let seen = play_on(&steps(text), Some(&raw(answer).await), None, &SystemClock, "").await;
    assert_eq!(seen.steps[0].decided, StepDecision::Held, "{}", told(&seen));
}

/// Answers with incomplete bodies.
#[tokio::test]
async fn no_encoding_may_end_early() {
    let text = "a body that does not repeat itself: 0123456789 abcdefghijklmnopqrstuvwxyz";
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(text.as_bytes()).unwrap();
    let brotli = b"\x0b\x08\x80{\"say\":\"Gr\xc3\xb6\xc3\x9fe\"}\x03".to_vec();
    let zstd =
        b"\x28\xb5\x2f\xfd\x04\x58\x89\x00\x00{\"say\":\"Gr\xc3\xb6\xc3\x9fe\"}\x2a\xb6\x34\xbc".to_vec();
    for (encoding, whole) in [("deflate", zlib.finish().unwrap()), ("br", brotli), ("zstd", zstd)] {
        for cut in [0, 1, 5] {
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: {encoding}\r\n\r\n");
            let answer = [head.as_bytes(), &whole[..whole.len() - cut]].concat().leak();
            let scenario = steps("- request: { method: GET, path: / }\n  assert: { status: 200 }\n");
            let seen = play_on(&scenario, Some(&raw(answer).await), None, &SystemClock, "").await;
            let error = seen.steps[0].error.as_deref();
            let wanted = (cut > 0).then(|| format!("the `{encoding}` data is incomplete"));
            match wanted {
                Some(wanted) => {
                    assert!(error.is_some_and(|error| error.ends_with(&wanted)), "-{cut}: {error:?}");
                }
                None => assert_eq!(error, None, "{encoding}"),
            }
        }
    }
}

/// Almost any bytes look like the beginning of deflate without a header.
#[tokio::test]
async fn what_is_not_compressed_is_no_deflate() {
    for body in ["{\"ok\": true, \"items\": [1, 2, 3]}", "hello, this is plain text", "<p>hello</p>"] {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: deflate\r\n\r\n";
        let answer = format!("{head}{body}").leak();
        let scenario = steps("- request: { method: GET, path: / }\n  assert: { status: 200 }\n");
        let seen = play_on(&scenario, Some(&raw(answer.as_bytes()).await), None, &SystemClock, "").await;
        let error = seen.steps[0].error.as_deref().unwrap_or_default();
        assert!(error.contains("deflate"), "{body}: {error}");
    }
}

/// Data after a compressed body is an error; only gzip may be padded with zeros.
#[tokio::test]
async fn nothing_may_follow_what_is_compressed() {
    let text = b"{\"ok\": true, \"items\": [1, 2, 3]}";
    let level = flate2::Compression::default;
    let (mut gzip, mut zlib, mut bare) = (
        flate2::write::GzEncoder::new(Vec::new(), level()),
        flate2::write::ZlibEncoder::new(Vec::new(), level()),
        flate2::write::DeflateEncoder::new(Vec::new(), level()),
    );
    gzip.write_all(text).unwrap();
    zlib.write_all(text).unwrap();
    bare.write_all(text).unwrap();
    let brotli = b"\x0b\x08\x80{\"say\":\"Gr\xc3\xb6\xc3\x9fe\"}\x03".to_vec();
    let zstd =
        b"\x28\xb5\x2f\xfd\x04\x58\x89\x00\x00{\"say\":\"Gr\xc3\xb6\xc3\x9fe\"}\x2a\xb6\x34\xbc".to_vec();
    for (encoding, whole) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
        ("br", brotli),
        ("zstd", zstd),
    ] {
        for more in [&b"garbage"[..], b"\n", b"\0\0\0x", b"\0\0", b""] {
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: {encoding}\r\n\r\n");
            let answer = [head.as_bytes(), &whole, more].concat().leak();
            let scenario = steps("- request: { method: GET, path: / }\n  assert: { status: 200 }\n");
            let seen = play_on(&scenario, Some(&raw(answer).await), None, &SystemClock, "").await;
            let error = seen.steps[0].error.as_deref();
            if more.is_empty() || encoding == "gzip" && more == b"\0\0" {
                assert_eq!(error, None, "{encoding} {more:?}");
            } else {
                let wanted = format!("it is not valid `{encoding}`: there is data after the end");
                assert!(
                    error.is_some_and(|error| error.ends_with(&wanted)),
                    "{encoding} {more:?}: {error:?}"
                );
            }
        }
    }
}
