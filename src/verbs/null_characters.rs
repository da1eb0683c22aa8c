//! Null characters: command lines, environment variables and paths cannot contain them.

use crate::verb::{Failure, Refusal, pointer};

/// The refusal of the text at `at`, which becomes `what`, if it contains a null character.
pub fn with_null(at: &str, text: &str, what: &str) -> Option<Refusal> {
    text.contains('\0').then(|| Refusal::of(at, failure(what)))
}

/// The refusals of an environment at `at`, whose variables belong to `owner`: invalid names of variables.
pub fn names_of_variables<'a>(
    at: &'a str,
    names: impl Iterator<Item = &'a String> + 'a,
) -> impl Iterator<Item = Refusal> + 'a {
    let unusable = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
    names.filter(unusable).map(move |name| {
        let failure = Failure::permanent(format!("{name:?} is not a valid variable name"));
        Refusal::key(pointer(at, name), failure.hint("remove `=` and null characters from the name"))
    })
}

fn failure(what: &str) -> Failure {
    Failure::permanent(format!("{what} contains a null character")).hint("remove it (`\\u0000`)")
}
