//! Programs under test.
#![expect(clippy::disallowed_methods, reason = "tests open sockets and start processes")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use atoll::scenario::{
    CommandExecution, CommandResult, ServiceCommand, Shell, ShellError, TerminalOpening, TerminalProgram,
};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::QuickClock;
use atoll::clock::Clock;

/// Serves `app` on loopback until the test ends; returns its address.
pub async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

/// A raw peer: reads one request, answers with `bytes`, and closes the connection.
pub async fn raw(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    format!("http://{address}")
}

/// Answers every request with its first line, one connection for each.
pub async fn first_lines() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut lines = BufReader::new(stream).lines();
            let first = lines.next_line().await.unwrap().unwrap();
            while lines.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
            let length = first.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{first}");
            lines.into_inner().into_inner().write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

/// Like [`raw`], but the connection is reset, not closed.
pub async fn reset(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
            // Dropping it resets the connection; data that was written before is still read.
            let _ = stream.set_zero_linger();
        }
    });
    format!("http://{address}")
}

/// A peer that answers the first request of each connection with keep-alive, and closes the connection when
/// the next request arrives; at once if there is no answer. Counts the requests that it has read.
pub async fn forgetful(answer: &'static [u8]) -> (String, Arc<Mutex<u32>>) {
    parting(answer, b"").await
}

/// Like [`forgetful`], but writes `last` before it closes the connection.
pub async fn parting(answer: &'static [u8], last: &'static [u8]) -> (String, Arc<Mutex<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let read = Arc::new(Mutex::new(0));
    let counted = read.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 64 << 10];
                for is_first in [true, false] {
                    if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                        *counted.lock().unwrap() += 1;
                    }
                    let _ = stream.write_all(if is_first { answer } else { last }).await;
                    if !is_first || answer.is_empty() {
                        break;
                    }
                }
            });
        }
    });
    (format!("http://{address}"), read)
}

#[derive(Clone, Default)]
struct Shop {
    items: Arc<Mutex<BTreeMap<u64, Value>>>,
    tries: Arc<Mutex<u32>>,
}

/// A small service: items, a login, a job that is done at the third poll, and several kinds of failures.
pub fn shop(clock: QuickClock) -> Router {
    Router::new()
        .route("/items", post(make))
        .route("/items/{id}", get(find).put(change).delete(remove))
        .route("/login", post(login))
        .route("/private", get(private))
        .route("/job", get(job))
        .route(
            "/port",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.port().to_string() }),
        )
        .route("/flood", get(|| async { vec![b'x'; 3 << 20] }))
        .route("/latin", get(|| async { [b'a', 0xE4, b'b'] }))
        .route(
            "/away",
            get(|| async { (StatusCode::FOUND, [(header::LOCATION, "http://example.invalid/")]) }),
        )
        .route("/home", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/port")]) }))
        .route("/spin", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/spin")]) }))
        .route(
            "/slow",
            get(move || async move {
                clock.sleep(std::time::Duration::from_millis(700)).await;
                "done"
            }),
        )
        .route("/echo", any(echo))
        .with_state(Shop::default())
}

async fn echo(headers: HeaderMap, Query(query): Query<Vec<(String, String)>>, body: String) -> Json<Value> {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Json(json!({ "headers": headers, "query": query, "body": body }))
}

async fn make(State(shop): State<Shop>, Json(mut item): Json<Value>) -> impl IntoResponse {
    let mut items = shop.items.lock().unwrap();
    let id = items.len() as u64 + 7;
    item["id"] = id.into();
    items.insert(id, item.clone());
    (StatusCode::CREATED, Json(item))
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "no such item" }))).into_response()
}

async fn find(State(shop): State<Shop>, Path(id): Path<u64>) -> Response {
    shop.items.lock().unwrap().get(&id).map_or_else(missing, |item| Json(item.clone()).into_response())
}

async fn change(State(shop): State<Shop>, Path(id): Path<u64>, Json(new): Json<Value>) -> Response {
    let mut items = shop.items.lock().unwrap();
    let Some(item) = items.get_mut(&id) else { return missing() };
    item["name"] = new["name"].clone();
    Json(item.clone()).into_response()
}

async fn remove(State(shop): State<Shop>, Path(id): Path<u64>) -> Response {
    shop.items.lock().unwrap().remove(&id).map_or_else(missing, |_| StatusCode::NO_CONTENT.into_response())
}

async fn login(Json(_): Json<Value>) -> impl IntoResponse {
    (StatusCode::OK, [(header::LOCATION, "/private")], Json(json!({ "token": "t-\"1\"" })))
}

async fn private(headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|value| value != "Bearer t-\"1\"") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({ "user": "ann", "roles": ["reader", "admin"], "code": 200 })).into_response()
}

async fn job(State(shop): State<Shop>) -> Json<Value> {
    let mut tries = shop.tries.lock().unwrap();
    *tries += 1;
    Json(json!({ "state": if *tries < 3 { "running" } else { "done" }, "tries": *tries }))
}

/// `python3 -m http.server` over a directory; killed when dropped.
pub struct PythonServer {
    /// Address of the server.
    pub url: String,
    _child: tokio::process::Child,
}

/// Starts it and waits until it has printed its address.
pub async fn python_server(dir: &std::path::Path) -> PythonServer {
    let mut child = tokio::process::Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let port = line.split_whitespace().nth(5).unwrap().to_owned();
    PythonServer { url: format!("http://127.0.0.1:{port}"), _child: child }
}

/// Runs commands as local processes instead of in the sandbox of a held service.
pub struct LocalShell {
    /// Clock for the time limits of commands.
    pub clock: QuickClock,
}

impl Shell for LocalShell {
    fn exec(&self, command: ServiceCommand) -> CommandExecution<'_> {
        Box::pin(async move {
            for (path, content) in &command.files {
                std::fs::write(path, content).map_err(|e| ShellError(format!("{path}: {e}")))?;
            }
            let mut child = tokio::process::Command::new("sh")
                .args(["-c", &command.line])
                .envs(&command.env)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(|e| ShellError(e.to_string()))?;
            let mut stdin = child.stdin.take().unwrap();
            let _ = stdin.write_all(&command.stdin).await;
            drop(stdin);
            tokio::select! {
                output = child.wait_with_output() => {
                    let output = output.map_err(|e| ShellError(e.to_string()))?;
                    let exit_code = output.status.code().map(i64::from);
                    Ok(CommandResult { exit_code, stdout: output.stdout, stderr: output.stderr, timed_out: false })
                }
                () = self.clock.sleep(command.timeout) => Ok(CommandResult { timed_out: true, ..CommandResult::default() }),
            }
        })
    }

    fn terminal(&self, _: TerminalProgram) -> TerminalOpening<'_> {
        Box::pin(async { Err(ShellError("it has no terminal".to_owned())) })
    }

    fn log_mark(&self) -> u64 {
        4
    }

    fn log_since(&self, mark: u64) -> String {
        "old\nlistening\n"[usize::try_from(mark).unwrap()..].to_owned()
    }
}
