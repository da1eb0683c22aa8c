//! A pipeline that has been read, checked and closed: everything a run needs, with no name left to look up.
//! It must never know the disk (it asks [`Sources`](crate::plan) for texts) nor show raw TOML types in public.
//! Start with [`Plan`] and [`Step`]; `resolve` makes them out of a [`crate::model`] pipeline and a catalog.

mod types;

pub use types::{
    Action, Ask, Body, BodyId, Call, Compute, Dep, Each, Exit, Hold, Input, InputKind, Limit, Loop, LoopExit,
    OnError, OnInterrupt, Plan, Retry, Rule, Seen, Sees, Step,
};
