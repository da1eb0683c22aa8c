//! One test binary for everything that looks at Atoll from outside.

mod store;
mod llm;
mod scenario;
mod expr;
mod factory;
