//! Null characters: no command line, environment variable or path can hold one.

use crate::verb::{Failure, Refusal, pointer};

/// The refusal of the text at `at`, which is to become `what`, if it has a null character.
pub fn with_null(at: &str, text: &str, what: &str) -> Option<Refusal> {
    text.contains('\0').then(|| Refusal::of(at, failure(what)))
}

/// The refusals of an environment at `at`, whose variables belong to `owner`: names that no variable can have.
pub fn names_of_variables<'a>(
    at: &'a str,
    names: impl Iterator<Item = &'a String> + 'a,
) -> impl Iterator<Item = Refusal> + 'a {
    let unusable = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
    names.filter(unusable).map(move |name| {
        let failure = Failure::permanent(format!("{name:?} cannot be the name of a variable"));
        Refusal::key(pointer(at, name), failure.hint("a name has neither `=` nor a null character"))
    })
}

fn failure(what: &str) -> Failure {
    Failure::permanent(format!("{what} has a null character, which ends every text for the system"))
        .hint("remove it (`\\u0000`)")
}
