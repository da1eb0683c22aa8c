//! One test binary for everything that looks at Atoll from outside.

mod expr;
mod llm;
mod scenario;
mod store;
