//! The verbs, one file each: `With`, `Out`, the implementation and a tested example.
//! A verb never knows another verb, nor the engine.
//! Start with any of them.

pub mod files;
mod place;
