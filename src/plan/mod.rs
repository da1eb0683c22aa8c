//! A pipeline that has been read, checked and closed: everything a run needs, with no name left to look up.
//! It must never know the disk (it asks [`Sources`] for texts) nor show raw TOML types in public.
//! Start with [`Plan`] and [`Step`]; [`load`] makes them: `load` reads and merges, `resolve` closes a pipeline,
//! `scope` says which names an expression may use, `literal` checks what a verb is given.

mod accepts;
mod asking;
mod at_pause;
mod binds;
mod bundle;
mod cached_time;
mod callee;
mod compile;
mod control;
mod declare;
mod defaults;
mod entries;
mod expanded;
mod given;
mod in_scope;
mod lets;
mod literal;
mod load;
mod loop_codes;
mod merge;
mod order;

mod question;
mod remarks;
mod resolve;
mod retrying;
mod scope;
mod setting;
mod shape;
mod sources;
mod start;
mod states;
mod step_lets;
mod steps;
mod takes;
mod texts;
mod times;
mod types;
mod waits;
mod worst;

pub use accepts::Accepts;
pub use bundle::{Bundle, Changed, drift};
pub use given::{Given, InputDoor, Listed, NoFiles, ReadFile, check_inputs, read as read_input};
pub use load::{Loaded, Merged, load, load_bundle, merged, path_of};
pub use question::{AnswerType, Ask};
pub use retrying::{Check, Retry};
pub use sources::{BUILTIN, Found, Layer, MemorySources, Sources, USERS, Unreadable, library_path};
pub use start::{AtStart, Setting, Unfit};
pub use takes::convert;
pub use types::{
    Action, Body, BodyId, CachedFiles, Call, Compute, Dep, Each, Exit, FromDefaults, Hold, Input, InputKind,
    Limit, Loop, LoopExit, MOST_ROUNDS, OnError, OnInterrupt, Origin, Plan, Refusal, Rule, Seen, Sees, Step,
    StepLets,
};
pub use worst::{InnerCap, Most, Worst, caps, inner_caps, worst};
