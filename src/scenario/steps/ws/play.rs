use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use regex::Regex;
use reqwest::Url;
use reqwest::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::json;

use super::dial::{HandshakeError, dial};
use super::frame::WsMessage;
use super::handshake::{HandshakeRequest, request};
use super::line::{NextFrame, VANISHED, WsConnection, WsEnd};
use super::{Close, Ws};
use crate::clock::Clock;
use crate::scenario::answer::SentRecord;
use crate::scenario::answer::StepOutcome;
use crate::scenario::answer::{StepAnswer, StructuredResponse};
use crate::scenario::network::TargetUrl;
use crate::scenario::network::Tls;
use crate::scenario::network::tls::TlsIdentity;
use crate::scenario::steps::{ConnectionSettings, StepRunner, TestEnvironment};
use crate::scenario::values::credentials;
use crate::scenario::values::{Excerpt, KeptContent, Variables, WrittenDuration, json as written};
use crate::value::Value;

/// Most messages kept of one step, and most bytes of them; the others are counted.
const MESSAGES: usize = 10_000;
const BYTES: usize = 16 << 20;

/// Most bytes of the answer that are kept.
const KEPT: usize = 1 << 20;

/// Longest text in a record of what was sent, in bytes.
const SHOWN: usize = 8 << 10;

/// The status of a handshake that was accepted.
const SWITCHED: u16 = 101;

/// Connections of the `ws` steps of one scenario, by name.
#[derive(Default)]
pub struct WsRunner {
    lines: IndexMap<String, WsConnection>,
    trust: String,
    /// TLS settings of the user.
    tls: Tls,
}

/// Input of a step with variables filled in.
struct WsInput {
    id: String,
    connect: Option<(Url, HandshakeRequest)>,
    send: Vec<WsMessage>,
    receive: Option<ReceiveLimit>,
    close: Option<Close>,
    may_be_refused: bool,
    limit: Duration,
}

struct ReceiveLimit {
    count: Option<u64>,
    until: Option<Regex>,
    timeout: Duration,
    /// Whether the limit is that of the step itself, and not the remaining time of a retry or the scenario.
    is_own: bool,
}

/// Record of a step that runs.
#[derive(Default)]
struct WsRecord {
    lines: String,
    received: Vec<WsMessage>,
    bytes: usize,
    count: u64,
    end: Option<WsEnd>,
    status: Option<u16>,
    headers: Value,
    protocol: Option<String>,
    refusal: Option<String>,
}

impl StepRunner for WsRunner {
    fn new(settings: &ConnectionSettings) -> Self {
        Self { trust: settings.trust.clone(), tls: settings.tls.clone(), ..Self::default() }
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.lines.into_values().for_each(WsConnection::part) })
    }
}

impl WsRunner {
    /// Runs one step, for at most `left` if a retry limits it.
    pub async fn play(
        &mut self,
        step: &Ws,
        stage: &TestEnvironment<'_>,
        variables: &Variables,
        left: Option<Duration>,
    ) -> (Option<SentRecord>, StepOutcome) {
        let limit = |own: Duration| left.map_or(own, |left| left.min(own));
        let act = match WsInput::new(step, stage.target, variables, limit) {
            Ok(act) => act,
            Err(reason) => return (None, StepOutcome::error(reason)),
        };
        let sent = act.sent(step, variables);
        let mut seen = WsRecord::default();
        let trusted = self.tls.trusting(&variables.fill(&self.trust));
        let error = self.perform(act, &trusted, stage.clock, &mut seen).await.err();
        let answer = seen.is_something().then(|| StepAnswer::Told(Box::new(seen.told())));
        (Some(sent), StepOutcome { answer, error })
    }

    async fn perform(
        &mut self,
        act: WsInput,
        trusted: &TlsIdentity,
        clock: &dyn Clock,
        seen: &mut WsRecord,
    ) -> Result<(), String> {
        let id = &act.id;
        if let Some((url, request)) = act.connect {
            let offers = request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL);
            if let Some(old) = self.lines.shift_remove(id) {
                old.part();
            }
            match Box::pin(dial(&url, request, trusted, act.limit, clock)).await {
                Ok(dialled) => drop(self.lines.insert(id.clone(), WsConnection::new(dialled))),
                Err(refused) => return seen.refused(refused, act.may_be_refused),
            }
            seen.note(format_args!("WebSocket {id}: connected"));
            if offers && self.lines.get(id).is_some_and(|line| line.protocol.is_none()) {
                seen.note(format_args!("The server took none of the subprotocols"));
            }
        } else if self.lines.contains_key(id) {
            seen.note(format_args!("WebSocket {id}"));
        }
        let Some(line) = self.lines.get_mut(id) else {
            return Err(format!("no connection `{id}` is open: connect it with `url` first"));
        };
        seen.status = Some(SWITCHED);
        (seen.headers, seen.protocol) = (line.headers.clone(), line.protocol.clone());
        if let Some(protocol) = line.protocol.as_ref() {
            seen.note(format_args!("Subprotocol {protocol}"));
        }
        send(line, act.send, act.limit, clock, seen).await?;
        if let Some(wanted) = &act.receive {
            receive(line, wanted, clock, seen).await;
        }
        if let Some(Close { code, reason }) = &act.close {
            let end = tokio::select! {
                end = line.close(*code, reason) => end,
                () = clock.sleep(act.limit) => {
                    WsEnd { code: VANISHED, reason: format!("no answer to it within {}", WrittenDuration(act.limit)) }
                }
            };
            seen.ended(end);
        }
        Ok(())
    }
}

async fn send(
    line: &mut WsConnection,
    frames: Vec<WsMessage>,
    limit: Duration,
    clock: &dyn Clock,
    seen: &mut WsRecord,
) -> Result<(), String> {
    let all = frames.len();
    for (index, frame) in frames.into_iter().enumerate() {
        let sent = tokio::select! {
            sent = line.send(frame) => sent,
            () = clock.sleep(limit) => Err(format!("it was not taken within {}", WrittenDuration(limit))),
        };
        if let Err(reason) = sent {
            if let Some(end) = line.end() {
                seen.ended(end);
            }
            return Err(format!("message {} of {all} could not be sent: {reason}", index + 1));
        }
    }
    if all > 0 {
        seen.note(format_args!("Sent {}", messages(all as u64)));
    }
    Ok(())
}

async fn receive(line: &WsConnection, wanted: &ReceiveLimit, clock: &dyn Clock, seen: &mut WsRecord) {
    let receiving = line.receiving();
    let mut late = clock.sleep(wanted.timeout);
    let mut is_late = false;
    while wanted.count.is_none_or(|count| seen.count < count) {
        let next = tokio::select! {
            biased;
            () = &mut late => {
                is_late = true;
                break;
            }
            next = line.next() => next,
        };
        match next {
            NextFrame::Message(frame) => {
                let is_last = wanted.until.as_ref().is_some_and(|until| until.is_match(&frame.to_string()));
                seen.take(frame);
                if is_last {
                    break;
                }
            }
            NextFrame::Ended(end) => {
                seen.end = Some(end);
                break;
            }
        }
    }
    drop(receiving);
    let of = match wanted.count {
        Some(count) if seen.count < count => format!("Received {} of {}", seen.count, messages(count)),
        _ => format!("Received {}", messages(seen.count)),
    };
    let within = match (is_late, wanted.is_own) {
        (false, _) => String::new(),
        (true, true) => format!(" within {}", WrittenDuration(wanted.timeout)),
        (true, false) => " before the time of the step was over".to_owned(),
    };
    seen.note(format_args!("{of}{within}"));
    seen.show(line.dropped() > 0);
    if let Some(end) = seen.end.take() {
        seen.ended(end);
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

impl WsRecord {
    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.lines, "{line}");
    }

    fn is_something(&self) -> bool {
        self.status.is_some()
    }

    fn take(&mut self, frame: WsMessage) {
        self.count += 1;
        if self.received.len() < MESSAGES
            && (self.bytes + frame.length() <= BYTES || self.received.is_empty())
        {
            self.bytes += frame.length();
            self.received.push(frame);
        }
    }

    fn show(&mut self, were_dropped: bool) {
        for frame in &self.received {
            let _ = writeln!(self.lines, "{frame}");
        }
        if self.count > self.received.len() as u64 {
            self.note(format_args!("Only the first {} are kept", messages(self.received.len() as u64)));
        }
        if were_dropped {
            self.note(format_args!(
                "Some messages were dropped: more than {MESSAGES} or 16 MiB of them waited"
            ));
        }
    }

    fn ended(&mut self, end: WsEnd) {
        let reason = if end.reason.is_empty() { String::new() } else { format!(": {}", end.reason) };
        self.note(format_args!("Closed with code {}{reason}", end.code));
        self.end = Some(end);
    }

    fn refused(&mut self, refused: HandshakeError, is_answer: bool) -> Result<(), String> {
        match refused {
            HandshakeError::Broken(reason) => Err(reason),
            HandshakeError::Answer { status, headers, body } => {
                self.note(format_args!("The handshake was refused: HTTP {status}"));
                if !body.trim().is_empty() {
                    self.note(format_args!("{}", body.trim_end()));
                }
                (self.status, self.headers, self.refusal) = (Some(status), headers, Some(body));
                if is_answer { Ok(()) } else { Err(format!("the handshake was refused: HTTP {status}")) }
            }
        }
    }

    fn told(self) -> StructuredResponse {
        let shown: Vec<String> = self.received.iter().map(WsMessage::to_string).collect();
        let main = match (self.refusal, self.received.as_slice()) {
            (Some(body), _) => ("body", body),
            (None, [one]) => ("messages", one.alone()),
            (None, several) => ("messages", written::text(&several.iter().map(WsMessage::to_json).collect())),
        };
        let (close, reason) = self.end.map(|end| (end.code, end.reason)).unzip();
        let parts = [
            ("messages", shown.join("\n").into()),
            ("count", self.count.into()),
            ("close", json!(close)),
            ("reason", json!(reason)),
            ("protocol", json!(self.protocol)),
            ("status", json!(self.status)),
            ("header", self.headers),
        ];
        StructuredResponse {
            text: self.lines,
            main: (main.0, KeptContent::of(main.1.as_bytes(), KEPT)),
            parts: parts.into_iter().collect(),
            evidence: Vec::new(),
        }
    }
}

impl WsInput {
    fn new(
        step: &Ws,
        target: Option<&str>,
        variables: &Variables,
        limit: impl Fn(Duration) -> Duration,
    ) -> Result<Self, String> {
        let filled = |text: &String| variables.fill(text).into_owned();
        let connect = match &step.url {
            None => None,
            Some(written) => {
                let written = variables.fill(written);
                let url = address(&written, target)?;
                let home = target.map(TargetUrl::parse).transpose()?;
                let path = home.and_then(|home| home.path_as_written(&written));
                let headers =
                    step.headers.iter().map(|(name, value)| (name.clone(), filled(value))).collect();
                let protocols: Vec<String> = step.protocols.iter().map(filled).collect();
                let request = request(&url, path.as_deref(), &headers, &protocols)?;
                Some((url, request))
            }
        };
        let receive = match &step.receive {
            None => None,
            Some(receive) => Some(ReceiveLimit {
                count: receive.count,
                until: match &receive.until {
                    Some(until) => Some(
                        Regex::new(&variables.fill_pattern(until))
                            .map_err(|e| format!("invalid pattern: {e}"))?,
                    ),
                    None => None,
                },
                timeout: limit(receive.timeout.0),
                is_own: limit(receive.timeout.0) == receive.timeout.0,
            }),
        };
        Ok(Self {
            id: filled(&step.id),
            connect,
            send: step.send.iter().map(|payload| payload.fill(variables)).collect::<Result<_, _>>()?,
            receive,
            close: step.close.as_ref().map(|close| Close { reason: filled(&close.reason), ..close.clone() }),
            may_be_refused: step.may_be_refused,
            limit: limit(step.timeout.0),
        })
    }

    /// Record of the input, without the target, which differs from run to run.
    fn sent(&self, step: &Ws, variables: &Variables) -> SentRecord {
        let mut text = format!("WebSocket {}\n", self.id);
        let filled = |name: &str, value: &String| credentials::recorded(name, &variables.fill(value));
        if let Some(url) = &step.url {
            let _ = writeln!(text, "connect {}", credentials::recorded_url(&variables.fill(url)));
            for (name, value) in &step.headers {
                let _ = writeln!(text, "{name}: {}", filled(name, value));
            }
            if !step.protocols.is_empty() {
                let _ = writeln!(text, "subprotocols {}", variables.fill(&step.protocols.join(", ")));
            }
        }
        let body = self.send.iter().map(WsMessage::to_string).collect::<Vec<_>>().join("\n");
        for frame in &self.send {
            let _ = writeln!(text, "send {frame}");
        }
        if let Some(Close { code, reason }) = &self.close {
            let _ = writeln!(text, "close {code} {reason}");
        }
        let headers = step.headers.iter().map(|(name, value)| (name.to_lowercase(), filled(name, value)));
        SentRecord {
            text: Excerpt::visible(&text, SHOWN).text,
            url: self.connect.as_ref().map(|(url, request)| shown(url, request)),
            headers: self.connect.is_some().then(|| headers.collect()),
            body: (!self.send.is_empty()).then(|| Excerpt::of_text(&body, SHOWN).text),
            ..SentRecord::default()
        }
    }
}

/// The URL of `request` for the record.
fn shown(url: &Url, request: &HandshakeRequest) -> String {
    let mut place = url.clone();
    place.set_path("");
    place.set_query(None);
    let place = place.as_str().trim_end_matches('/');
    credentials::recorded_url(&format!("{place}{}", request.uri())).into_owned()
}

/// The URL to connect to, which must be on the target.
fn address(filled: &str, target: Option<&str>) -> Result<Url, String> {
    let home = target.map(TargetUrl::parse).transpose()?;
    if !is_whole(filled) {
        let mut url = home.ok_or("there is no target to connect to")?.join(filled)?;
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        return match url.set_scheme(scheme) {
            Ok(()) => Ok(url),
            Err(()) => Err(format!("{url} cannot be used for a WebSocket")),
        };
    }
    let url = Url::parse(filled).map_err(|e| format!("`{filled}` is not a URL: {e}"))?;
    let home = home.ok_or("there is no target to connect to")?;
    if home.is_home_of_socket(&url) {
        Ok(url)
    } else {
        Err(format!("{url} is not on the target {}", home.origin()))
    }
}

fn is_whole(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    ["ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_paths_at_the_target_or_whole() {
        let at = |url: &str| address(url, Some("https://h:8443/api?k=v")).map(|url| url.to_string());
        assert_eq!(at("/chat?x=1").unwrap(), "wss://h:8443/api/chat?k=v&x=1");
        assert_eq!(address("chat", Some("http://h:80")).unwrap().as_str(), "ws://h/chat");
        assert_eq!(address("ws://h/x", Some("http://h:80")).unwrap().as_str(), "ws://h/x");
        assert_eq!(at("wss://h:8443/x").unwrap(), "wss://h:8443/x");
        assert_eq!(at("WSS://h:8443/x").unwrap(), "wss://h:8443/x", "schemes are the same in capitals");
        for other in ["wss://h:9/x", "wss://other:8443/x", "ws://h:8443/x", "ws://127.0.0.1:8443/x"] {
            assert!(at(other).unwrap_err().contains("is not on the target"), "{other}");
        }
        assert!(address("/chat", None).unwrap_err().contains("no target"));
        assert!(address("ws://h/chat", None).unwrap_err().contains("no target"));
    }
}
