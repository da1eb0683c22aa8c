//! A target with TLS: what `--ca-cert` and `--insecure` trust, and what `--client-cert` sends.

use super::Site;
use crate::binary::{Project, Ran};
use crate::scenario::peers::Peer;
use crate::scenario::tls::certificates;

/// Reads its certificate and key from the environment, and the authority for client certificates if it
/// requires them.
const SERVER: &str = "import base64, hashlib, http.server, os, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *words): pass
    def do_GET(self):
        if self.headers.get('Upgrade') == 'websocket':
            key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
            self.send_response(101)
            self.send_header('Upgrade', 'websocket')
            self.send_header('Connection', 'Upgrade')
            self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers()
            self.wfile.write(bytes([0x81, 5]) + b'hello')
            return
        who = dict(part[0] for part in (self.connection.getpeercert() or {}).get('subject', ())).get('commonName', 'nobody')
        self.send_response(200)
        self.send_header('Content-Length', str(len(who)))
        self.end_headers()
        self.wfile.write(who.encode())
home = os.path.dirname(__file__)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f'{home}/signed.pem', f'{home}/signed.key')
if os.path.exists(f'{home}/asks'):
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(f'{home}/authority.pem')
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print('port', server.server_address[1])
server.serve_forever()
";

const CASES: &str = "id: safe
steps:
  - description: A request
    request: { method: GET, path: / }
    assert: { status: 200, body: '{who}' }
  - description: A socket
    ws: { url: /socket, receive: {} }
    assert: { messages: hello }
";

struct Secured {
    project: Project,
    site: Site,
}

/// The server with its certificates in `tls`; `None` without openssl.
#[expect(clippy::disallowed_methods, reason = "tests make certificates")]
fn secured(asks: bool, test: &str) -> Option<Secured> {
    let home = certificates(test)?;
    let mut project = Project::new().file("cases/safe.yaml", CASES).file("tls/server.py", SERVER);
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("tls/{}", path.file_name().unwrap().to_str().unwrap());
        project = project.file(&name, &std::fs::read_to_string(&path).unwrap());
    }
    if asks {
        project = project.file("tls/asks", "");
    }
    let site = Site::running(&project.path("tls/server.py"));
    Some(Secured { project, site })
}

impl Secured {
    fn run(&self, who: &str, more: &[&str]) -> Ran {
        let (url, who) = (self.site.url.replace("http:", "https:"), format!("who={who}"));
        let own = ["validate", "--scenarios", "cases", "--no-judge", "--target", &url, "--variable", &who];
        self.project.run(&[own.as_slice(), more].concat())
    }
}

#[test]
fn a_target_is_trusted_by_its_authority_or_without_a_look() {
    let Some(secured) = secured(false, "a_target_is_trusted_by_its_authority") else { return };
    secured.run("nobody", &[]).exits(4).stdout_has("its certificate is not signed by a trusted authority");
    secured.run("nobody", &["--ca-cert", "tls/authority.pem"]).exits(0);
    secured.run("nobody", &["--insecure"]).exits(0);
    // A different authority is not trusted.
    let failed = secured.run("nobody", &["--ca-cert", "tls/own.pem"]).exits(4);
    failed
        .stdout_has("its certificate is not signed by a trusted authority")
        .stdout_has("curl -sS -i -X GET --cacert tls/own.pem");
}

#[test]
fn a_client_certificate_is_shown_and_its_key_is_not_recorded() {
    let Some(secured) = secured(true, "a_client_certificate_is_shown") else { return };
    let (ca, own) = (
        ["--ca-cert", "tls/authority.pem"],
        ["--client-cert", "tls/client.pem", "--client-key", "tls/client.key"],
    );
    secured.run("client", &ca).exits(4);
    secured.run("client", &[ca.as_slice(), &own].concat()).exits(0);
    let key = secured.project.read("tls/client.key");
    let secret = key.lines().nth(1).unwrap();
    let log = secured.project.run(&["log", "last", "--format", "json"]).exits(0).stdout;
    assert!(!log.contains(secret), "the key is in the journal");
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let Some(secured) = secured(false, "files_that_do_not_fit_are_refused") else { return };
    let refused = |more: &[&str], why: &str| drop(secured.run("nobody", more).exits(3).stderr_has(why));
    refused(&["--client-cert", "tls/client.pem"], "`client_cert` and `client_key` belong together");
    refused(&["--ca-cert", "tls/own.pem", "--insecure"], "`ca_cert` has no effect");
    refused(&["--ca-cert", "tls/nothing.pem"], "tls/nothing.pem");
    let code = ["validate", "--scenarios", "cases", "--code", "tls", "--insecure"];
    secured.project.run(&code).exits(3).stderr_has("reached without TLS");
    // A key of another certificate is not a failure of the program.
    let other = ["--insecure", "--client-cert", "tls/client.pem", "--client-key", "tls/own.key"];
    secured
        .run("nobody", &other)
        .exits(1)
        .stdout_has("`client_cert` and `client_key` do not belong together");
}

const CALL: &str = "id: called
steps:
  - grpc: { service: greet.v1.Greeter, method: Hello, body: { name: Ann } }
    assert: { status: OK }
";

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_grpc_server() {
    let test = "a_client_certificate_is_shown_to_a_grpc_server";
    let Some(secured) = secured(false, test) else { return };
    let project = secured.project.file("calls/called.yaml", CALL);
    for (from, to) in [("signed.pem", "cert.pem"), ("signed.key", "key.pem")] {
        let text = project.read(&format!("tls/{from}"));
        project.write(&format!("tls/{to}"), &text);
    }
    let (home, authority) = (project.path("tls"), project.path("tls/authority.pem"));
    let arguments = ["--tls", home.to_str().unwrap(), "--clients", authority.to_str().unwrap()];
    let Some(greeter) = Peer::start_with("peers/greet.py", &arguments, test).await else { return };
    let target = format!("https://127.0.0.1:{}", greeter.port);
    let run = |more: &[&str]| {
        let own = ["validate", "--scenarios", "calls", "--no-judge", "--target", &target];
        project.run(&[own.as_slice(), &["--ca-cert", "tls/authority.pem"], more].concat())
    };
    run(&[]).exits(4);
    run(&["--client-cert", "tls/client.pem", "--client-key", "tls/client.key"]).exits(0);
}
