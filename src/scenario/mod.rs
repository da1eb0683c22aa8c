//! The scenario language: YAML files that declare what is done to a program and what is expected of it.
//! This module does not know models, pipelines or the engine. It observes and asserts; it does not score.
//! Start with [`Scenario`] (the data), [`load()`] (the reader), [`run()`] and [`Observation`] (the result).
//! A folder may use only the folders above it in this list; `steps` has one folder for each step type.

mod values;

mod answer;
mod checks;
mod network;
mod ports;
mod reader;

mod steps;

mod language;

pub mod credentials;
pub mod lint;
mod load;
mod run;

pub use answer::{Evidence, ExecAnswer, HttpAnswer, JUDGED, SentRecord, StepAnswer, StructuredResponse};
pub use checks::{Capture, Captured, Selector, When, assert};
pub use language::{
    Isolation, Readiness, Scenario, ScenarioSource, ScenarioStep, StepRetry, StepUntil, Visibility,
};
pub use load::{Attachments, ScenarioFiles, load, load_given};
pub use network::{Tls, TlsGiven};
pub use ports::{
    BrowserTab, Browsers, CommandExecution, CommandResult, EventListener, Evidences, ServiceCommand,
    ServiceTerminal, Shell, ShellError, TerminalEvent, TerminalOpening, TerminalProgram, TerminalSize,
};
pub use run::{
    EndedWhen, EvidenceRef, NamedValue, Observation, Observed, SetupFailure, Skipped, StepDecision, StepSeen,
    run,
};
pub use steps::{
    Action, Browser, BrowserAction, Exec, Grpc, GrpcReceive, GrpcStream, Hosts, HttpClient, HttpRequest,
    Parallel, ServiceEndpoint, TestEnvironment, Tui, Upload, WaitGoal, Ws, runs_commands,
};
pub use values::{Excerpt, Generator, KeptContent, Variables, WrittenDuration};
