//! The verb `agent`.
