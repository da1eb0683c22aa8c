//! One test binary for everything that looks at Atoll from outside.

#[cfg(test)]
mod absence;
#[cfg(test)]
mod again;
#[cfg(test)]
mod agent;
#[cfg(test)]
mod always;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod cached;
#[cfg(test)]
mod checked;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod damaged;
#[cfg(test)]
mod diagnostics;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod each;
#[cfg(test)]
mod environment;
mod examples;
#[cfg(test)]
mod expr;
#[cfg(test)]
mod factory;
#[cfg(test)]
mod fifo;
#[cfg(test)]
mod grading;
#[cfg(test)]
mod holdout;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod journals;
#[cfg(test)]
mod kill9;
#[cfg(test)]
mod language;
#[cfg(test)]
mod lets;
mod library;
#[cfg(test)]
mod llm;
#[cfg(test)]
mod loop_policy;
#[cfg(test)]
mod merging;
#[cfg(test)]
mod models;
#[cfg(test)]
mod nesting;
#[cfg(test)]
mod on_pause;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod retrying;
#[cfg(test)]
mod run_dir;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod services;
#[cfg(test)]
mod settling;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod spending;
#[cfg(test)]
mod store;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod toys;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod waits;
