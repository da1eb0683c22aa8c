//! The step type `grpc`: calls methods that the program describes by server reflection, over one connection
//! per scenario. Streams may continue in the background; they end with the scenario.

mod any;
mod call;
mod connection;
mod message;
mod metadata;
mod order;
mod read;
mod reflection;
mod reply;
mod secure;
mod step_type;

pub use step_type::TYPE;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use prost_reflect::MethodDescriptor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tonic::Request;

use crate::clock::Sleep;
use crate::diag::nearest;
use crate::scenario::answer::SentRecord;
use crate::scenario::answer::StepOutcome;
use crate::scenario::network::Tls;
use crate::scenario::network::tls::TlsIdentity;
use crate::scenario::steps::thirty_seconds;
use crate::scenario::steps::{ConnectionSettings, StepRunner, TestEnvironment};
use crate::scenario::values::{Variables, WrittenDuration};
use crate::value::Value;

use any::{MessageTypes, types};
use call::{CallEnd, GrpcCall};
use connection::GrpcServer;
use order::CallRequest;
use reply::{GrpcReply, MessageBody};

/// A call of a gRPC method, or the continuation of a stream that an earlier step has started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Full name of the service; empty to continue an earlier stream.
    #[serde(default)]
    pub service: String,
    /// Name of the method; empty to continue an earlier stream.
    #[serde(default)]
    pub method: String,
    /// The request: text is read as JSON, null is an empty message.
    #[serde(default)]
    pub body: Value,
    /// Metadata of the request. Values may contain variables; values of names that end in `-bin` are base64.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: IndexMap<String, String>,
    /// Deadline of the call; for a background stream, time limit for starting it.
    #[serde(default = "thirty_seconds")]
    pub timeout: WrittenDuration,
    /// Streaming of messages; null for a unary call.
    #[serde(default)]
    pub stream: Option<GrpcStream>,
}

/// Streaming of the messages of a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcStream {
    /// Name under which later steps continue the stream.
    #[serde(default)]
    pub id: String,
    /// Messages to send, each like `body`.
    #[serde(default)]
    pub messages: Option<Vec<Value>>,
    /// True if the sending side is closed afterwards. Streams that do not continue in the background are
    /// always closed.
    #[serde(default)]
    pub close: bool,
    /// Messages to wait for.
    #[serde(default)]
    pub receive: Option<GrpcReceive>,
}

/// Messages to wait for on a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcReceive {
    /// Number of messages.
    #[serde(default = "one")]
    pub count: usize,
    /// Time limit, after which the received messages are the answer; by default the timeout of the step.
    #[serde(default)]
    pub timeout: Option<WrittenDuration>,
    /// True if the stream continues while later steps run.
    #[serde(default)]
    pub background: bool,
}

fn one() -> usize {
    1
}

/// Extra time in the deadline that the program receives. We always report the timeout first, so that the
/// same behaviour gives the same message.
const GRACE: Duration = Duration::from_secs(1);

/// Time for a program that does not answer yet to receive a stream that continues in the background.
const RECEIVED: Duration = Duration::from_millis(500);

/// Time after that for it to start its work.
const BEGUN: Duration = Duration::from_millis(100);

/// Connection and open streams of the `grpc` steps of one scenario. They end when it is dropped.
#[derive(Default)]
pub struct GrpcRunner {
    /// Trusted certificates, in PEM with placeholders; empty for those of the machine.
    trust: String,
    /// TLS settings of the user.
    tls: Tls,
    server: Option<GrpcServer>,
    streams: IndexMap<String, GrpcCall>,
    unnamed: usize,
}

impl StepRunner for GrpcRunner {
    fn new(settings: &ConnectionSettings) -> Self {
        Self { trust: settings.trust.clone(), tls: settings.tls.clone(), ..Self::default() }
    }

    fn twin(&self) -> Option<Box<dyn StepRunner>> {
        let (trust, tls, server) = (self.trust.clone(), self.tls.clone(), self.server.clone());
        Some(Box::new(Self { trust, tls, server, ..Self::default() }))
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        drop(self);
        // Lets the cancelled tasks run once.
        Box::pin(tokio::task::yield_now())
    }
}

impl GrpcRunner {
    /// Connects and looks up the method of `step`, so that its twins need not.
    pub async fn ready(
        &mut self,
        step: &Grpc,
        stage: &TestEnvironment<'_>,
        variables: &Variables,
        left: Option<Duration>,
    ) -> Result<(), String> {
        let limit = left.map_or(step.timeout.0, |left| left.min(step.timeout.0));
        let order = CallRequest::of(step, limit, variables)?;
        let trusted = self.tls.trusting(&variables.fill(&self.trust));
        let mut late = stage.clock.sleep(limit);
        self.method(&order, &trusted, stage, &mut late).await.map(drop)
    }

    /// Runs one step, for at most `left` if a retry limits it.
    pub async fn play(
        &mut self,
        step: &Grpc,
        stage: &TestEnvironment<'_>,
        variables: &Variables,
        left: Option<Duration>,
    ) -> (Option<SentRecord>, StepOutcome) {
        let limit = left.map_or(step.timeout.0, |left| left.min(step.timeout.0));
        let order = match CallRequest::of(step, limit, variables) {
            Ok(order) => order,
            Err(error) => return (None, StepOutcome::error(error)),
        };
        let sent = order.sent();
        let trusted = self.tls.trusting(&variables.fill(&self.trust));
        let outcome = if order.service.is_empty() {
            self.go_on(&order, stage).await
        } else {
            self.call(&order, &trusted, stage).await
        };
        (Some(sent), outcome.unwrap_or_else(StepOutcome::error))
    }

    /// The method of the call and all types that its messages name, on an open connection.
    async fn method(
        &mut self,
        order: &CallRequest,
        trusted: &TlsIdentity,
        stage: &TestEnvironment<'_>,
        late: &mut Sleep,
    ) -> Result<(GrpcServer, MethodDescriptor), String> {
        let target = stage.grpc_target.ok_or("there is no target for gRPC calls")?;
        loop {
            let is_reused = self.server.is_some();
            let server = connected(&mut self.server, (target, trusted), order, late).await?;
            let ask = async {
                for name in order.written().iter().flat_map(types) {
                    // An unknown type is reported when the message is built.
                    reflection::learn(server, name, &order.metadata).await;
                }
                server.method(&order.service, &order.method, &order.metadata).await
            };
            let method = tokio::select! {
                biased;
                method = ask => method,
                () = &mut *late => Err(format!("server reflection did not answer within {}", WrittenDuration(order.limit))),
            };
            let error = match method {
                Ok(method) => return Ok((server.clone(), method)),
                Err(error) => error,
            };
            // The next attempt uses a new connection.
            self.server = None;
            if !(is_reused && error.contains(call::LOST)) {
                return Err(error);
            }
        }
    }

    /// Calls a method. If a connection was used before and the call ends without an answer, that says
    /// nothing about the program, so the call is repeated on a new connection.
    async fn call(
        &mut self,
        order: &CallRequest,
        trusted: &TlsIdentity,
        stage: &TestEnvironment<'_>,
    ) -> Result<StepOutcome, String> {
        let mut late = stage.clock.sleep(order.limit);
        let is_reused = self.server.is_some();
        let (mut call, mut outcome) = self.call_once(order, trusted, stage, &mut late).await?;
        if is_reused && call.is_lost() {
            self.server = None;
            (call, outcome) = self.call_once(order, trusted, stage, &mut late).await?;
        }
        if matches!(call.ended(), Some(CallEnd::Broken(_))) {
            self.server = None;
        }
        Ok(if order.background { self.keep(call, order) } else { outcome })
    }

    async fn call_once(
        &mut self,
        order: &CallRequest,
        trusted: &TlsIdentity,
        stage: &TestEnvironment<'_>,
        late: &mut Sleep,
    ) -> Result<(GrpcCall, StepOutcome), String> {
        let (server, method) = self.method(order, trusted, stage, late).await?;
        let messages = order.messages(&method)?;
        let mut request = Request::new(());
        *request.metadata_mut() = order.metadata.clone();
        if !order.background {
            request.set_timeout(order.limit + GRACE);
        }
        let mut call = GrpcCall::start(server.channel(), method, request);
        for message in messages {
            call.send(message)?;
        }
        if order.closes(call.method()) {
            call.close();
        }
        if order.background {
            let patience = async {
                let mut server = server;
                tokio::select! {
                    () = reflection::round_trip(&mut server, &order.metadata) => {}
                    () = stage.clock.sleep(RECEIVED) => {}
                }
                stage.clock.sleep(BEGUN).await;
            };
            if !call.accepted(patience, late).await {
                return Err(format!(
                    "the program did not accept the stream within {}",
                    WrittenDuration(order.limit)
                ));
            }
            return Ok((call, StepOutcome::default()));
        }
        let mut body =
            MessageBody::of(call.method()).knowing(MessageTypes::new(server, order.metadata.clone()));
        let wanted = order.wanted(call.method());
        let patience = order.patience.map(|patience| stage.clock.sleep(patience));
        if call.receive(&mut body, wanted, (patience, Some(late))).await == call::ReceiveEnd::Late {
            call.end(CallEnd::late(order.limit));
        }
        self.remember(&mut body);
        let outcome = GrpcReply { call: &call, name: "", begun: false }.outcome(body);
        Ok((call, outcome))
    }

    /// Keeps the types that were looked up.
    fn remember(&mut self, body: &mut MessageBody) {
        if let (Some(server), Some(types)) = (&mut self.server, body.types()) {
            server.pool = types.into_pool();
        }
    }

    /// Saves a stream for later steps.
    fn keep(&mut self, call: GrpcCall, order: &CallRequest) -> StepOutcome {
        let name = if order.id.is_empty() {
            self.unnamed += 1;
            (self.unnamed - 1).to_string()
        } else {
            order.id.clone()
        };
        let outcome = GrpcReply { call: &call, name: &name, begun: true }.outcome(MessageBody::none());
        // This ends an earlier stream of the same name.
        self.streams.insert(name, call);
        outcome
    }

    async fn go_on(
        &mut self,
        order: &CallRequest,
        stage: &TestEnvironment<'_>,
    ) -> Result<StepOutcome, String> {
        let Some(call) = self.streams.get_mut(&order.id) else {
            return Err(no_stream(&order.id, &self.streams.keys().map(String::as_str).collect::<Vec<_>>()));
        };
        let mut unsent = None;
        for message in order.messages(call.method())? {
            if let Err(error) = call.send(message) {
                unsent = Some(error);
                break;
            }
        }
        if order.close {
            call.close();
        }
        let mut body = MessageBody::of(call.method()).after(call.received());
        if let Some(server) = &self.server {
            body = body.knowing(MessageTypes::new(server.clone(), order.metadata.clone()));
        }
        if let Some(count) = order.wanted(call.method()) {
            let patience = stage.clock.sleep(order.patience.unwrap_or(order.limit).min(order.limit));
            // The single message of a unary answer counts only if the final status is OK.
            let is_answer = count > 0 && !call.method().is_server_streaming();
            call.receive(&mut body, (!is_answer).then_some(count), (Some(patience), None)).await;
        }
        let learnt = body.types();
        let mut outcome = GrpcReply { call, name: &order.id, begun: false }.outcome(body);
        outcome.error = outcome.error.or(unsent);
        if let (Some(server), Some(types)) = (&mut self.server, learnt) {
            server.pool = types.into_pool();
        }
        Ok(outcome)
    }
}

/// The connection of the scenario, created on first use.
async fn connected<'p>(
    server: &'p mut Option<GrpcServer>,
    (target, trusted): (&str, &TlsIdentity),
    order: &CallRequest,
    late: &mut Sleep,
) -> Result<&'p mut GrpcServer, String> {
    let open = server.take().map(Ok);
    let connect = async {
        match open {
            Some(open) => open,
            None => GrpcServer::connect(target, trusted).await,
        }
    };
    tokio::select! {
        biased;
        open = connect => Ok(server.insert(open?)),
        () = late => Err(format!("no connection within {}", WrittenDuration(order.limit))),
    }
}

fn no_stream(id: &str, known: &[&str]) -> String {
    let near = nearest(id, known.iter().copied());
    let hint = match near {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.is_empty() => "; a step with `receive: { background: true }` starts one".to_owned(),
        None => format!("; open are {}", known.join(", ")),
    };
    format!("no stream `{id}` is open{hint}")
}
