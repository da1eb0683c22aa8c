//! One test binary for everything that looks at Atoll from outside.

mod expr;
#[cfg(test)]
mod store;
#[cfg(test)]
mod llm;
#[cfg(test)]
mod scenario;
mod store;
mod factory;
mod diagnostics;
mod expr;
mod language;
mod llm;
mod scenario;
mod store;
mod toys;
