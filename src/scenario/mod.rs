//! The scenario language: YAML files that say what is done to a program and what is expected of it.
//! It must never know models, pipelines or the engine; it observes and asserts, it never scores.
//! Start with [`Scenario`] (what is read), [`load()`] (how), [`run()`] and [`Observation`] (what comes out). A folder may
//! use only the folders above it in this list; `steps` has one folder for each step type.

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

pub use answer::{Answer, Evidence, ExecAnswer, HttpAnswer, JUDGED, Sent, Told};
pub use checks::{Capture, Captured, Selector, When, assert};
pub use language::{Isolation, Readiness, Retry, Scenario, Source, Step, Until, Visibility};
pub use load::{Attachments, Files, load, load_given};
pub use network::{Tls, TlsGiven};
pub use ports::{
    Browsers, Command, Doing, Ear, Evidences, Execution, Opening, Program, Ran, Shell, ShellError, Shown,
    Tab, Terminal, TerminalSize,
};
pub use run::{Broken, Decided, Ended, EvidenceRef, Named, Observation, Observed, Skipped, StepSeen, run};
pub use steps::{
    Action, Browser, Deed, Exec, Goal, Grpc, GrpcReceive, GrpcStream, Hosts, Parallel, Place, Request, Stage,
    Tui, Upload, Web, Ws, runs_commands,
};
pub use values::{Excerpt, Generator, Kept, Lapse, Variables};
