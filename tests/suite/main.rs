//! One test binary for everything that looks at Atoll from outside.

mod diagnostics;
mod expr;
mod language;
mod llm;
mod scenario;
mod store;
mod toys;
