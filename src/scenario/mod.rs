//! The scenario language: YAML files that say what is done to a program and what is expected of it.
//! It must never know models, pipelines or the engine; it observes and asserts, it never scores.
//! Start with [`Scenario`] (what is read), [`load()`] (how), [`run()`] and [`Observation`] (what comes out); there is one
//! file per step type: `http.rs`, `exec.rs`, `browser.rs`, `grpc.rs`, `ws.rs`, `tui.rs`.

mod answer;
pub mod assert;
mod attach;
mod attempt;
mod browser;
mod bytes;
mod capture;
pub mod credentials;
mod deadline;
mod ending;
mod excerpt;
mod exec;
mod expectation;
mod generator;
mod grpc;
mod http;
mod json;
mod language;
mod lapse;
pub mod lint;
mod load;
mod logged;
mod observation;
mod parallel;
mod port;
mod read;
mod run;
mod select;
mod stream;
mod texts;
mod tls;
mod trust;
mod tui;
mod unresolved;
mod variables;
mod when;
mod ws;
mod yaml;

pub use answer::{Answer, Evidence, ExecAnswer, HttpAnswer, JUDGED, Told};
pub use attach::Attachments;
pub use browser::{Browser, Deed, Goal, Hosts, Upload};
pub use capture::Captured;
pub use ending::Ended;
pub use excerpt::{Excerpt, Kept};
pub use generator::Generator;
pub use grpc::{Grpc, GrpcReceive, GrpcStream};
pub use http::{Request, Web};
pub use language::{
    Action, Capture, Exec, Isolation, Parallel, Readiness, Retry, Scenario, Source, Step, Until, Visibility,
};
pub use lapse::Lapse;
pub use load::{Files, load, load_given};
pub use observation::{Broken, Decided, EvidenceRef, Named, Observation, Observed, Sent, Skipped, StepSeen};
pub use port::{
    Browsers, Command, Doing, Ear, Evidences, Execution, Opening, Program, Ran, Shell, ShellError, Shown,
    Tab, Terminal, TerminalSize,
};
pub use run::{Place, Stage, run};
pub use select::Selector;
pub use tls::{Tls, TlsGiven};
pub use tui::Tui;
pub use variables::Variables;
pub use when::When;
pub use ws::Ws;
