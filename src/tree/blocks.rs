//! Edits as marked blocks in a text.
