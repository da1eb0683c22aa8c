//! The engine against a made-up world: hand-built and random plans, random outcomes, every crash point.

mod absence;
mod again;
mod at_pause;
mod budget;
mod late;
pub(crate) mod plans;
mod prefixes;
mod settling;
mod stories;
mod waits;
mod world;
