//! Edits of a tree.
