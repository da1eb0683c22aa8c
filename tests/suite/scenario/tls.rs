//! Programs with TLS and certificates of openssl: which certificates a scenario trusts, and the errors for
//! others.
#![expect(clippy::disallowed_methods, reason = "tests make certificates")]

use std::path::Path;
use std::process::Command;

use atoll::scenario::{Observation, StepDecision};
use atoll::system_clock::SystemClock;

use super::browser::{assert_all_hold, browse, chromium};
use super::peers::Peer;
use super::{play_on, read};

/// Creates an authority, a certificate for 127.0.0.1 that it has signed, a client certificate, and an
/// unsigned certificate for another name.
const CERTIFICATES: &str = r#"
set -e
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $key -keyout authority.key -out authority.pem -days 1 -subj "/CN=An authority"
openssl req $key -keyout signed.key -out signed.csr -subj "/CN=server"
printf 'subjectAltName=IP:127.0.0.1\n' >names
openssl x509 -req -in signed.csr -CA authority.pem -CAkey authority.key -CAcreateserial -extfile names -days 1 -out signed.pem
openssl req $key -keyout client.key -out client.csr -subj "/CN=client"
openssl x509 -req -in client.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 1 -out client.pem
openssl req -x509 $key -keyout own.key -out own.pem -days 1 -subj "/CN=somewhere.example"
"#;

/// A directory with certificates; `None` after a note if openssl is missing.
pub fn certificates(test: &str) -> Option<tempfile::TempDir> {
    let home = tempfile::tempdir().unwrap();
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: {test}: openssl is missing");
        return None;
    }
    let made = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(home.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(home)
}

struct Safe {
    web: String,
    socket: String,
    _peer: Peer,
}

impl Safe {
    /// Both servers with the certificate `name`.
    async fn start(home: &Path, name: &str, test: &str) -> Option<Self> {
        let file = |ending: &str| home.join(format!("{name}.{ending}")).display().to_string();
        let mut peer = Peer::start_with("tls_server.py", &[&file("pem"), &file("key")], test).await?;
        let socket = peer.lines(1).await.remove(0);
        let at = |port: &str| format!("https://127.0.0.1:{port}");
        Some(Self { web: at(&peer.port), socket: at(&socket), _peer: peer })
    }

    /// Runs a request and a WebSocket, each to its own target, with `trust` as written in YAML.
    async fn play(&self, trust: &str) -> Observation {
        let request =
            "- request: { method: GET, path: / }\n  assert: { status: 200, body: Directory listing }";
        let socket = "- ws: { url: /echo, send: hello, receive: {} }\n  assert: { messages: hello }";
        let mut seen = Self::play_at(&self.web, trust, request).await;
        seen.steps.extend(Self::play_at(&self.socket, trust, socket).await.steps);
        seen
    }

    async fn play_at(target: &str, trust: &str, steps: &str) -> Observation {
        let scenario = read(&format!("id: safe\n{trust}\nsteps:\n{steps}\n"));
        play_on(&scenario, Some(target), None, &SystemClock, "").await
    }
}

/// The file `name` as the value of a key.
fn pem(home: &Path, name: &str) -> String {
    std::fs::read_to_string(home.join(name)).unwrap().replace('\n', "\n  ")
}

fn decided(seen: &Observation) -> Vec<StepDecision> {
    seen.steps.iter().map(|step| step.decided).collect()
}

#[tokio::test]
async fn whom_a_scenario_trusts_is_spoken_to() {
    let test = "whom_a_scenario_trusts_is_spoken_to";
    let Some(home) = certificates(test) else { return };
    let Some(safe) = Safe::start(home.path(), "signed", test).await else { return };
    let authority = pem(home.path(), "authority.pem");
    let seen = safe.play(&format!("trust: |\n  {authority}")).await;
    assert_eq!(decided(&seen), [StepDecision::Held; 2], "{}", crate::scenario::told(&seen));
    let captured =
        format!("variables:\n  pem: |\n    {}\ntrust: '{{pem}}'", authority.replace("\n ", "\n   "));
    let seen = safe.play(&captured).await;
    assert_eq!(decided(&seen), [StepDecision::Held; 2], "{}", crate::scenario::told(&seen));
    // A self-signed certificate for another name that could sign others is trusted nevertheless.
    let Some(own) = Safe::start(home.path(), "own", test).await else { return };
    let seen = own.play(&format!("trust: |\n  {}", pem(home.path(), "own.pem"))).await;
    assert_eq!(decided(&seen), [StepDecision::Held; 2], "{}", crate::scenario::told(&seen));
}

#[tokio::test]
async fn nobody_else_is() {
    let Some(home) = certificates("nobody_else_is") else { return };
    let Some(safe) = Safe::start(home.path(), "signed", "nobody_else_is").await else { return };
    let unknown = "its certificate is not signed by a trusted authority; set trusted certificates with `trust` or `--ca-cert`";
    for trust in [String::new(), format!("trust: |\n  {}", pem(home.path(), "own.pem"))] {
        let seen = safe.play(&trust).await;
        let errors: Vec<_> = seen.steps.iter().map(|step| step.error.clone().unwrap()).collect();
        assert!(errors[0].starts_with("no answer: ") && errors[0].ends_with(unknown), "{errors:?}");
        assert_eq!(errors[1], format!("no connection: {unknown}"));
    }
    let seen = safe.play("trust: nothing of the kind").await;
    let errors: Vec<_> = seen.steps.iter().map(|step| step.error.clone().unwrap()).collect();
    assert_eq!(errors, ["`trust` contains no PEM certificate"; 2]);
}

#[tokio::test]
async fn pages_of_a_scenario_that_trusts_look_at_no_certificate() {
    let test = "pages_of_a_scenario_that_trusts";
    let (Some(home), Some(chromium)) = (certificates(test), chromium(test).await) else { return };
    let Some(safe) = Safe::start(home.path(), "signed", test).await else { return };
    let page = |trust: &str| {
        read(&format!(
            "id: page\n{trust}\nsteps:\n- browser: {{ action: navigate, url: / }}\n  assert: {{ title: Directory listing }}\n"
        ))
    };
    let seen = browse(&chromium, &page(""), &safe.web, None).await;
    assert_eq!(seen.steps[0].error.as_deref(), Some("no answer: cert authority invalid"));
    let trust = format!("trust: |\n  {}", pem(home.path(), "authority.pem"));
    assert_all_hold(&browse(&chromium, &page(&trust), &safe.web, None).await);
}
