//! Errors of connections, in words that are the same for the same fault.

use std::error::Error;

use super::tls;

/// An error and its causes, outermost first, without those that only say that there is another.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    tls::reason(causes(error))
}

/// The same with what was done when it happened.
pub fn describe_as(doing: &str, error: &(dyn Error + 'static)) -> String {
    tls::reason(format!("{doing}: {}", causes(error)))
}

fn causes(error: &(dyn Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        next = cause.source();
        let text = cause.to_string();
        let is_empty = next.is_some() && cause.is::<reqwest::Error>();
        if !is_empty && causes.last() != Some(&text) {
            causes.push(text);
        }
    }
    causes.join(": ")
}
