//! One test binary for everything that looks at Atoll from outside.
mod expr;
