//! One test binary for everything that looks at Atoll from outside.

#[cfg(test)]
mod store;
#[cfg(test)]
mod llm;
#[cfg(test)]
mod scenario;
