//! Depth and size of values, and their limits.

use std::fmt::Display;

use super::Value;

/// Most levels of lists and objects in a value that is read from outside: an answer, a file, an input.
pub const MAX_READ_DEPTH: usize = 64;
/// Most levels in the output of a step or an expression, which may wrap a value that was read. A record of
/// the journal adds fewer than 16 levels, and JSON of more than 127 levels cannot be read back.
pub const MAX_DEPTH: usize = 96;
/// Approximate limit for the JSON size of a value of an expression, in bytes.
pub const MAX_SIZE: u64 = 64 << 20;

/// Fewest bytes that a value counts for, because a short value takes more memory than its JSON.
const LEAST: u64 = 16;

/// Depth and size of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Levels of lists and objects.
    pub depth: usize,
    /// Approximate size of its JSON in bytes. Repeated parts count each time.
    pub size: u64,
}

impl Extent {
    /// A text of `bytes`, or with 0 any other value that is neither list nor object.
    pub fn leaf(bytes: usize) -> Self {
        Self { depth: 0, size: LEAST.max(bytes as u64 + 2) }
    }

    /// An empty list or object.
    pub fn empty() -> Self {
        Self { depth: 1, size: LEAST }
    }

    /// This list or object with one more value.
    #[must_use]
    pub fn and(self, inner: Self) -> Self {
        Self {
            depth: self.depth.max(inner.depth.saturating_add(1)),
            size: self.size.saturating_add(inner.size),
        }
    }

    /// This list or object with one more key of `bytes`.
    #[must_use]
    pub fn key(self, bytes: usize) -> Self {
        Self { size: self.size.saturating_add(bytes as u64 + 4), ..self }
    }

    /// The extent of this list with the items of another one.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self { depth: self.depth.max(other.depth), size: self.size.saturating_add(other.size) }
    }

    /// The extent of `value`, which may be nested as deeply as its memory allows.
    pub fn of(value: &Value) -> Self {
        let mut whole = Self::default();
        let mut open = vec![(value, 0_usize)];
        while let Some((value, outside)) = open.pop() {
            let (own, depth) = match value {
                Value::String(text) => (Self::leaf(text.len()), outside),
                Value::Array(items) => {
                    open.extend(items.iter().map(|item| (item, outside + 1)));
                    (Self::empty(), outside + 1)
                }
                Value::Object(table) => {
                    open.extend(table.values().map(|item| (item, outside + 1)));
                    (table.keys().fold(Self::empty(), |sum, key| sum.key(key.len())), outside + 1)
                }
                _ => (Self::leaf(0), outside),
            };
            whole = Self { depth: whole.depth.max(depth), size: whole.size.saturating_add(own.size) };
        }
        whole
    }

    /// Why this extent exceeds a limit; `None` if it does not.
    pub fn fault(&self) -> Option<String> {
        if self.depth > MAX_DEPTH {
            return Some(nested(MAX_DEPTH));
        }
        (self.size > MAX_SIZE).then(|| format!("larger than {} MiB", MAX_SIZE >> 20))
    }
}

/// Whether lists and objects in `value` are nested more than `most` levels deep.
pub fn is_deeper(value: &Value, most: usize) -> bool {
    let mut open = vec![(value, most)];
    while let Some((value, left)) = open.pop() {
        let (Value::Array(_) | Value::Object(_)) = value else { continue };
        let Some(left) = left.checked_sub(1) else { return true };
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, left))),
            Value::Object(table) => open.extend(table.values().map(|item| (item, left))),
            _ => {}
        }
    }
    false
}

/// The message for a value of more than `most` levels: `nested more than 64 levels deep`.
pub fn nested(most: usize) -> String {
    format!("nested more than {most} levels deep")
}

/// Parses JSON from outside, at most [`MAX_READ_DEPTH`] levels deep.
pub fn parse(text: impl AsRef<[u8]>) -> Result<Value, serde_json::Error> {
    let read = serde_json::from_slice(text.as_ref());
    shallow(read.map_err(|error: serde_json::Error| match error.to_string() {
        text if text.starts_with("recursion limit exceeded") => {
            serde::de::Error::custom(nested(MAX_READ_DEPTH))
        }
        _ => error,
    })?)
}

/// Returns `value` from outside if it is at most [`MAX_READ_DEPTH`] levels deep.
pub fn shallow<E: serde::de::Error>(value: Value) -> Result<Value, E> {
    if is_deeper(&value, MAX_READ_DEPTH) { Err(E::custom(nested(MAX_READ_DEPTH))) } else { Ok(value) }
}

/// Why `value` (named `what` in the message) is too deep to be recorded, because it could not be read back.
pub fn unrecordable(what: impl Display, value: &Value) -> Option<String> {
    is_deeper(value, MAX_DEPTH).then(|| format!("{what} is {}", nested(MAX_DEPTH)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nest(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn json_from_outside_is_refused_beyond_its_depth_before_it_cannot_be_read() {
        for objects in [false, true] {
            let text = |levels: usize| {
                if objects {
                    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
                } else {
                    nest(levels)
                }
            };
            assert!(parse(text(MAX_READ_DEPTH)).is_ok());
            for levels in [MAX_READ_DEPTH + 1, 120, 127, 128, 100_000] {
                assert!(parse(text(levels)).is_err(), "{levels}");
            }
        }
        assert_eq!(parse(nest(65)).unwrap_err().to_string(), "nested more than 64 levels deep");
    }

    #[test]
    fn what_may_be_recorded_can_be_read_back_with_what_is_around_it() {
        let value: Value = serde_json::from_str(&nest(MAX_DEPTH)).unwrap();
        assert_eq!((unrecordable("it", &value), Extent::of(&value).fault()), (None, None));
        let around = (0..16).fold(value.clone(), |inner, _| json!({ "value": inner }));
        assert!(serde_json::from_str::<Value>(&around.to_string()).is_ok());
        let deeper = json!([value]);
        assert_eq!(unrecordable("it", &deeper).as_deref(), Some("it is nested more than 96 levels deep"));
        assert!(Extent::of(&deeper).fault().is_some());
    }

    #[test]
    fn the_extent_of_parts_makes_that_of_the_whole() {
        let value = json!({"key": [1, "text that is long", null], "b": {}});
        let list = [0, 17, 0].iter().fold(Extent::empty(), |sum, bytes| sum.and(Extent::leaf(*bytes)));
        let made = Extent::empty().key(3).and(list).key(1).and(Extent::empty());
        assert_eq!(Extent::of(&value), made);
        assert_eq!(made.depth, 2);
        let large = Extent { depth: 1, size: MAX_SIZE + 1 };
        assert_eq!(large.fault().as_deref(), Some("larger than 64 MiB"));
    }
}
