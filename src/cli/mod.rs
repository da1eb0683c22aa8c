//! The command line: from arguments to a typed request, one file per command, and back to an exit code.
//! It must never know how a pipeline is resolved or a run is carried out; it puts the parts together.
//! Start with [`main`], then `args.rs` for what there is to type and `house.rs` for how the parts are joined.

mod answer;
mod args;
mod asks;
mod cache_key;
mod cassette;
mod check;
mod completions;
mod configure;
mod cost;
mod eject;
mod events;
mod evidence;
mod exit;
mod explain;
mod face;
mod files;
mod flags;
mod follow;
mod gc;
mod given;
mod granted;
mod graph;
mod house;
mod images;
mod leftovers;
mod lint;
mod loading;
mod log;
mod masked;
mod models;
mod owner;
mod past;
mod person;
mod plan;
mod replan;
mod resume;
mod run;
mod runs;
mod seal;
mod settings;
mod show;
mod signal;
mod signals;
mod stop;
mod texts;
mod trust;
mod trusted;
mod typed;
mod validate;
mod verbs;
mod which;

pub use exit::Exit;
pub use face::{Color, Face};
pub use files::Files;
pub use settings::Settings;
pub use stop::{Done, Stop};

pub use texts::Texts;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use args::{Ask, Common};

/// What every command works with.
pub struct Desk {
    /// The project and its settings.
    pub settings: Settings,
    /// The screen.
    pub face: Face,
}

/// Does what the arguments of this process ask for.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let exit = catch_unwind(AssertUnwindSafe(|| serve(&arguments))).unwrap_or_else(|_| {
        Face::find(Color::Auto, false).say("this is a fault of atoll: please report it with the lines above");
        Exit::BUG
    });
    exit.into()
}

fn serve(arguments: &[OsString]) -> Exit {
    let (common, ask) = match args::parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => return args::tell(&error),
    };
    let face = Face::find(common.color, common.quiet);
    dispatch(face, &common, ask, arguments).unwrap_or_else(|stop| {
        face.complain(&stop);
        stop.exit
    })
}

fn dispatch(face: Face, common: &Common, ask: Ask, arguments: &[OsString]) -> Done {
    let settings = Settings::find(common.data_dir.as_deref())?;
    let desk = Desk { settings, face };
    match ask {
        Ask::Run(ask) => run::serve(&desk, &ask, arguments),
        Ask::Validate(ask) => validate::serve(&desk, &ask, arguments),
        Ask::Plan(ask) => plan::serve(&desk, &ask, arguments),
        Ask::Check(ask) => check::serve(&desk, &ask),
        Ask::Lint(ask) => lint::serve(&desk, &ask),
        Ask::Resume(ask) => resume::serve(&desk, &ask),
        Ask::Answer(ask) => answer::serve(&desk, &ask),
        Ask::Pause(ask) => signal::pause(&desk, &ask),
        Ask::Kill(ask) => signal::kill(&desk, &ask),
        Ask::Limit(ask) => signal::limits(&desk, &ask),
        Ask::Runs(ask) => runs::serve(&desk, &ask),
        Ask::Show(ask) => show::serve(&desk, &ask),
        Ask::Cost(ask) => cost::serve(&desk, &ask),
        Ask::Log(ask) => log::serve(&desk, &ask),
        Ask::Graph(ask) => graph::serve(&desk, &ask),
        Ask::Eject(ask) => eject::serve(&desk, &ask),
        Ask::Which(ask) => which::serve(&desk, &ask),
        Ask::Verbs(ask) => verbs::serve(&desk, &ask),
        Ask::Models(ask) => models::serve(&desk, &ask),
        Ask::Trust(ask) => trust::serve(&desk, &ask),
        Ask::Configure(ask) => configure::serve(&desk, &ask),
        Ask::Cassette(ask) => cassette::serve(&desk, &ask),
        Ask::Explain(ask) => explain::serve(&desk, &ask),
        Ask::Gc(ask) => gc::serve(&desk, &ask),
        Ask::Completions(ask) => completions::serve(&desk, &ask),
    }
}
