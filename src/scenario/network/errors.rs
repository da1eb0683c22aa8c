//! Messages for connection errors: the same fault always gives the same message.

use std::error::Error;

use super::tls;

/// An error and its causes, outermost first, without those that only wrap another error.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    tls::reason(causes(error))
}

/// Like [`describe`], with the action that failed.
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
