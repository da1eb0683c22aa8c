//! The names that comprehensions bind: none of them hides a name in scope.

use super::resolve::Resolver;
use super::scope::{SOMEWHERE, Site};
use crate::diag::{Code, Diagnostic};
use crate::expr::{Ref, Step};
use crate::model::Text;

impl Resolver<'_, '_> {
    /// Checks the names that the comprehensions of `text` bind at the places `binds`.
    pub(super) fn check_binds(&mut self, text: &Text, binds: &[Ref], site: &Site<'_>) {
        for bind in binds {
            let Some(Step::Key(name)) = bind.path.first() else { continue };
            let hides = self.is_item(name, site)
                || site.error && name == "error"
                || site.computed.is_some() && ["n", "seed"].contains(&name.as_str());
            let complaint = if hides {
                Diagnostic::new(Code::HiddenItem, format!("this `{name}` hides another `{name}`"))
            } else if is_word(name) {
                Diagnostic::new(Code::BadName, format!("`{name}` is a name of the language"))
            } else {
                continue;
            };
            let span = self.key_span(text, bind, 0);
            self.loader.found.push(complaint.at(span, "").help("choose another name"));
        }
    }
}

/// Whether `name` means the same everywhere that it is in scope.
fn is_word(name: &str) -> bool {
    let is_item = ["item", "index"].contains(&name);
    ["inputs", "steps", "run"].contains(&name) || !is_item && SOMEWHERE.iter().any(|(word, _)| *word == name)
}
