//! Reused connections: which requests are sent again, and which are not.
#![expect(clippy::disallowed_methods, reason = "a test plays the server")]

use std::sync::{Arc, Mutex};

use atoll::scenario::{Observation, StepDecision};
use atoll::system_clock::SystemClock;
use axum::http;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::program::parting;
use super::tls::certificates;
use super::{play_on, read, steps};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn seen(text: &str, url: &str) -> Observation {
    play_on(&steps(text), Some(url), None, &SystemClock, "").await
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_its_head_is_not_sent_again() {
    let text = "- request: { method: POST, path: /a, body: x }\n".repeat(2);
    let heads: [&[u8]; 8] = [
        b"H",
        b"HTTP/1.1 200 OK\r\nContent-Ty",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 2",
        b"HTTP/1.1 408 Request Timeout\r\nConnection: clo",
        b"\x00\xff",
        b"SSH-2.0-x\r\n",
    ];
    for head in heads {
        let (url, received) = parting(OK, head).await;
        let seen = seen(&text, &url).await;
        let shown = String::from_utf8_lossy(head);
        assert_eq!(seen.steps[0].error, None, "{shown:?}");
        let error = seen.steps[1].error.as_deref().unwrap_or_else(|| panic!("{shown:?} is no answer"));
        assert!(error.starts_with("no answer: "), "{shown:?}: {error}");
        assert_eq!(*received.lock().unwrap(), 2, "{shown:?}: each request was sent once");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_its_body_is_not_sent_again() {
    let text = "- request: { method: POST, path: /a, body: x }\n".repeat(2);
    let (url, received) = parting(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
    let seen = seen(&text, &url).await;
    let error = seen.steps[1].error.as_deref().unwrap();
    assert!(error.starts_with("the answer was interrupted after 4 bytes"), "{error}");
    assert_eq!(*received.lock().unwrap(), 2);
}

/// A program that announces that it closes the connection after its answer has not seen the next request.
#[tokio::test]
async fn what_came_before_a_request_is_no_part_of_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(0));
    let counted = received.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 64 << 10];
                if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    *counted.lock().unwrap() += 1;
                }
                let late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(&[OK, late].concat()).await;
            });
        }
    });
    let text = "- repeat: 10\n  request: { method: POST, path: /a, body: x }\n  assert: { status: 200 }\n";
    let seen = seen(text, &url).await;
    assert_eq!(seen.steps[0].decided, StepDecision::Held, "{}", crate::scenario::told(&seen));
    assert_eq!(*received.lock().unwrap(), 10);
}

/// An HTTP/2 server that ends each connection after `most` requests. If it is `polite` it announces that;
/// otherwise it closes the connection when the next request arrives. Returns the address and the counts of
/// connections and requests.
async fn with_http2(home: &std::path::Path, most: usize, polite: bool) -> (String, Arc<Mutex<(u32, u32)>>) {
    let file = |name: &str| std::fs::read(home.join(name)).unwrap();
    let chain = CertificateDer::pem_slice_iter(&file("signed.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&file("signed.key")).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let counts = Arc::new(Mutex::new((0, 0)));
    let counted = counts.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.lock().unwrap().0 += 1;
            let (acceptor, counted) = (acceptor.clone(), counted.clone());
            tokio::spawn(async move {
                let mut connection =
                    h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
                let mut answered = 0;
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    counted.lock().unwrap().1 += 1;
                    if answered == most {
                        return;
                    }
                    let host = request.headers().get("host");
                    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
                    let told =
                        format!("{} {:?} {authority} {host:?}", request.uri().path(), request.version());
                    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                    stream.send_data(Bytes::from(told), true).unwrap();
                    answered += 1;
                    if polite && answered == most {
                        connection.graceful_shutdown();
                    }
                }
            });
        }
    });
    (url, counts)
}

#[tokio::test]
async fn http2_is_spoken_and_a_connection_that_ends_is_replaced() {
    let Some(home) = certificates("http2_is_spoken") else { return };
    let pem = std::fs::read_to_string(home.path().join("authority.pem")).unwrap().replace('\n', "\n  ");
    let steps = "- { request: { method: GET, path: /a }, assert: { status: 200, body: /a HTTP/2.0 } }\n"
        .repeat(3)
        + "- { request: { method: POST, path: /b, body: x }, assert: { status: 200, body: /b HTTP/2.0 } }\n";
    for (most, polite, connections) in [(9, true, 1), (2, true, 2)] {
        let (url, counts) = with_http2(home.path(), most, polite).await;
        let scenario = read(&format!("id: two\ntrust: |\n  {pem}\nsteps:\n{steps}"));
        let seen = play_on(&scenario, Some(&url), None, &SystemClock, "").await;
        let told = crate::scenario::told(&seen);
        assert!(seen.steps.iter().all(|step| step.decided == StepDecision::Held), "{told}");
        assert_eq!(*counts.lock().unwrap(), (connections, 4), "{told}");
    }
}

/// Over HTTP/2, the header `Host` of a step is the authority, and there must be no second one.
#[tokio::test]
async fn the_host_of_a_step_is_the_authority_over_http2() {
    let Some(home) = certificates("the_host_of_a_step_is_the_authority") else { return };
    let pem = std::fs::read_to_string(home.path().join("authority.pem")).unwrap().replace('\n', "\n  ");
    let (url, _) = with_http2(home.path(), 9, true).await;
    let own = url.trim_start_matches("https://");
    let steps = format!(
        "- {{ request: {{ method: GET, path: /a, headers: {{ Host: other.example }} }}, assert: {{ body: {{ equals: /a HTTP/2.0 other.example None }} }} }}
- {{ request: {{ method: GET, path: /b, headers: {{ host: 'other.example:8443' }} }}, assert: {{ body: {{ equals: '/b HTTP/2.0 other.example:8443 None' }} }} }}
- {{ request: {{ method: GET, path: /c }}, assert: {{ body: {{ equals: '/c HTTP/2.0 {own} None' }} }} }}
"
    );
    let scenario = read(&format!("id: two\ntrust: |\n  {pem}\nsteps:\n{steps}"));
    let seen = play_on(&scenario, Some(&url), None, &SystemClock, "").await;
    assert!(
        seen.steps.iter().all(|step| step.decided == StepDecision::Held),
        "{}",
        crate::scenario::told(&seen)
    );
}

#[tokio::test]
async fn a_request_that_http2_loses_without_a_byte_is_sent_once_more() {
    let Some(home) = certificates("a_request_that_http2_loses") else { return };
    let pem = std::fs::read_to_string(home.path().join("authority.pem")).unwrap().replace('\n', "\n  ");
    let (url, counts) = with_http2(home.path(), 1, false).await;
    let steps = "- { request: { method: GET, path: /a }, assert: { status: 200 } }\n".repeat(3);
    let scenario = read(&format!("id: two\ntrust: |\n  {pem}\nsteps:\n{steps}"));
    let seen = play_on(&scenario, Some(&url), None, &SystemClock, "").await;
    let told = crate::scenario::told(&seen);
    assert!(seen.steps.iter().all(|step| step.decided == StepDecision::Held), "{told}");
    assert_eq!(*counts.lock().unwrap(), (3, 5), "{told}");
}
