//! Edits that cannot apply, as far as that is known before there is a tree.

use std::collections::BTreeMap;

use super::{EditSource, WholeFiles};
use crate::tree::edit::{ApplyError, Edit, EditError, apply};
use crate::tree::{Tree, check_path};
use crate::verb::{Failure, MemoryBlobs, Refusal};

impl EditSource<'_> {
    /// The first edit that applies to no tree, or not to the empty tree that these edits start from.
    pub(in crate::verbs) fn misfit(&self, edits: &[Edit]) -> Option<Refusal> {
        let all = ["/edits", "/files", "/text"];
        if let Some((first, second, failure)) = clash(edits) {
            let at = |index: usize| self.place_of(index, &edits[index]);
            // The keys of a table are valid paths.
            let is_map = matches!(self.files, Some(WholeFiles::Map(_)));
            let refusal = if is_map {
                Refusal::key(at(second), failure)
            } else {
                Refusal::of(at(second), failure).with(at(first))
            };
            let takes_away = |edit: &Edit| matches!(edit, Edit::Delete { .. } | Edit::Rename { .. });
            let decides = edits[..=second].iter().any(takes_away);
            return Some(if decides { all.into_iter().fold(refusal, Refusal::with) } else { refusal });
        }
        if self.has_base {
            return None;
        }
        let Err(ApplyError::Edit(error)) = apply(&MemoryBlobs::default(), &Tree::default(), edits) else {
            return None;
        };
        let at = self.place_of(error.index, &edits[error.index]);
        let refusal = Refusal::of(at, ApplyError::from(error).into()).if_given("/base");
        Some(all.into_iter().fold(refusal, Refusal::with))
    }
}

/// Two of `edits` that cannot both apply, by their indices: a file at the place of a directory that the other
/// needs; and the problem of the second one.
fn clash(edits: &[Edit]) -> Option<(usize, usize, Failure)> {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for (index, edit) in edits.iter().enumerate() {
        let Ok(path) = check_path(edit.path()) else { continue };
        let path = match edit {
            Edit::Write { .. } | Edit::Replace { .. } => path,
            Edit::Delete { .. } => {
                made.remove(&path);
                continue;
            }
            Edit::Rename { to, .. } => {
                made.remove(&path);
                match check_path(to) {
                    Ok(to) => to,
                    Err(_) => continue,
                }
            }
        };
        let outer = path.match_indices('/').find_map(|(end, _)| made.get_key_value(&path[..end]));
        let dir = format!("{path}/");
        let inner = || made.range(dir.clone()..).next().filter(|(other, _)| other.starts_with(&dir));
        if let Some((other, first)) = outer.or_else(inner) {
            let write = |path: &str| Edit::Write { path: path.to_owned(), content: String::new() };
            let tried = apply(&MemoryBlobs::default(), &Tree::default(), &[write(other), write(&path)]);
            let Err(ApplyError::Edit(error)) = tried else { return None };
            let error = EditError { index, path: edit.path().to_owned(), ..error };
            return Some((*first, index, ApplyError::from(error).into()));
        }
        made.insert(path, index);
    }
    None
}
