//! The nesting of addresses.

use crate::id::Address;

/// The control step whose body contains the step at `address`, or whose round or item it is; `None` at the
/// top level of a run.
pub fn enclosing(address: &Address) -> Option<Address> {
    let text = address.as_str();
    if let Some(step) = unmarked(text) {
        return Some(Address::new(step));
    }
    let (body, _) = text.rsplit_once('/')?;
    Some(Address::new(unmarked(body).unwrap_or(body)))
}

/// The body that contains the step at `address`, with the mark of its round or item: `converge#3` for
/// `converge#3/judge`. Empty at the top level of a run.
pub fn body_of(address: &Address) -> &str {
    address.as_str().rsplit_once('/').map_or("", |(body, _)| body)
}

/// The number in the mark of a round (`converge#3`, from 1) or an item (`judge[7]`, from 0).
pub fn round_or_item(address: &Address) -> Option<u32> {
    let text = address.as_str();
    let mark = &text[unmarked(text)?.len()..];
    mark.trim_start_matches(['#', '[']).trim_end_matches(']').parse().ok()
}

/// The address without the marks of rounds and items: the path of the step in its pipeline.
pub fn shape_of(address: &Address) -> String {
    let parts = address.as_str().split('/').map(|part| part.split(['#', '[']).next().unwrap_or(part));
    parts.collect::<Vec<_>>().join("/")
}

/// The rounds that contain the step at `address`, the outermost first; including the round itself if it is
/// one.
pub fn rounds_of(address: &Address) -> Vec<String> {
    let text = address.as_str();
    let ends = text.match_indices('/').map(|(end, _)| end).chain([text.len()]);
    ends.map(|end| &text[..end])
        .filter(|outer| outer.rsplit('/').next().is_some_and(|part| part.contains('#')))
        .map(str::to_owned)
        .collect()
}

/// `text` without the mark of a round or item at its end.
fn unmarked(text: &str) -> Option<&str> {
    let last = text.rfind('/').map_or(0, |at| at + 1);
    text[last..].find(['#', '[']).map(|at| &text[..last + at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_stands_in_the_control_step_around_it() {
        let up = |text: &str| enclosing(&Address::new(text)).map(|a| a.as_str().to_owned());
        assert_eq!(up("converge#3/judge[7]/score").as_deref(), Some("converge#3/judge"));
        assert_eq!(up("converge#3/judge").as_deref(), Some("converge"));
        assert_eq!(up("converge#3").as_deref(), Some("converge"));
        assert_eq!(up("run/observe").as_deref(), Some("run"));
        assert_eq!(up("converge"), None);
        assert_eq!(body_of(&Address::new("converge#3/judge[7]/score")), "converge#3/judge[7]");
        assert_eq!(round_or_item(&Address::new("converge#3/judge[7]")), Some(7));
        assert_eq!(round_or_item(&Address::new("converge#3")), Some(3));
        assert_eq!(round_or_item(&Address::new("converge#3/judge")), None);
        assert_eq!(shape_of(&Address::new("converge#3/judge[7]/score")), "converge/judge/score");
        assert_eq!(rounds_of(&Address::new("a#1/b[2]/c#3/d")), ["a#1", "a#1/b[2]/c#3"]);
        assert_eq!(rounds_of(&Address::new("a/b[2]/d")), [""; 0]);
    }
}
