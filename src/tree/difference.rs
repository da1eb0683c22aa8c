//! The difference between two trees as a unified diff.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Tree, TreeError};
use crate::verb::Blobs;

impl Tree {
    /// The unified diff from this tree to `to`; empty if they are equal. Binary files are only named.
    pub fn diff(&self, blobs: &dyn Blobs, to: &Self) -> Result<String, TreeError> {
        let mut text = String::new();
        let paths: BTreeSet<&String> = self.files.keys().chain(to.files.keys()).collect();
        for path in paths {
            let (old, new) = (self.files.get(path), to.files.get(path));
            if old == new {
                continue;
            }
            let side = |tree: &Self| match tree.text(blobs, path) {
                Ok(text) => Ok(Some(text)),
                Err(TreeError::NoFile { .. }) => Ok(Some(String::new())),
                Err(TreeError::NotText { .. }) => Ok(None),
                Err(other) => Err(other),
            };
            let from_name = old.map_or("/dev/null".to_owned(), |_| format!("a/{path}"));
            let to_name = new.map_or("/dev/null".to_owned(), |_| format!("b/{path}"));
            match (side(self)?, side(to)?) {
                (Some(old), Some(new)) if old != new => {
                    let lines = similar::TextDiff::from_lines(&old, &new);
                    text += &lines.unified_diff().context_radius(3).header(&from_name, &to_name).to_string();
                }
                (Some(_), Some(_)) => {
                    let _ = writeln!(text, "{from_name} and {to_name} differ in existence or mode only");
                }
                _ => {
                    let _ = writeln!(text, "binary files {from_name} and {to_name} differ");
                }
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::MemoryBlobs;

    #[test]
    fn a_diff_names_what_changed_and_nothing_else() {
        let blobs = MemoryBlobs::default();
        let mut from = Tree::new();
        from.put(&blobs, "same", b"x").unwrap();
        from.put(&blobs, "changed", b"one\ntwo\n").unwrap();
        from.put(&blobs, "gone", b"bye\n").unwrap();
        let mut to = from.clone();
        to.files.remove("gone");
        to.put(&blobs, "changed", b"one\n2\n").unwrap();
        to.put(&blobs, "bin", &[0xff, 0]).unwrap();
        let text = from.diff(&blobs, &to).unwrap();
        assert_eq!(
            text,
            "binary files /dev/null and b/bin differ\n--- a/changed\n+++ b/changed\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\
             --- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n"
        );
        assert_eq!(from.diff(&blobs, &from).unwrap(), "");
    }
}
