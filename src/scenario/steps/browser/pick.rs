use serde_json::json;

use crate::value::Value;

/// Parses a selector for our script: CSS, `role=ROLE[name="NAME"]` or `text=TEXT`.
pub fn parse(text: &str) -> Result<Value, String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("role=") {
        return role(rest)
            .ok_or_else(|| format!("`{text}` is not a role selector such as `role=button[name=\"Save\"]`"));
    }
    if let Some(rest) = text.strip_prefix("text=") {
        let rest = rest.trim();
        let (words, exact) = quoted(rest).map_or_else(|| (rest.to_owned(), false), |words| (words, true));
        let words = plain(&words);
        return if words.is_empty() {
            Err("there is no text after `text=`".into())
        } else {
            Ok(json!({ "text": words, "exact": exact }))
        };
    }
    Ok(json!({ "css": text }))
}

/// `button`, `button[name="Save"]` for exactly that name, `button[name*="save"]` for a part of it in any
/// case.
fn role(text: &str) -> Option<Value> {
    let (role, rest) = text.split_once('[').map_or((text, None), |(role, rest)| (role, Some(rest)));
    let role = role.trim();
    if role.is_empty() || !role.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let Some(rest) = rest else { return Some(json!({ "role": role, "name": null, "exact": false })) };
    let named = rest.trim_end().strip_suffix(']')?.trim().strip_prefix("name")?.trim_start();
    let (exact, name) = match named.strip_prefix("*=") {
        Some(name) => (false, name),
        None => (true, named.strip_prefix('=')?),
    };
    Some(json!({ "role": role, "name": plain(&quoted(name.trim())?), "exact": exact }))
}

/// Text in double or single quotes, in which `\` escapes the next character.
fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?),
            c if c == quote => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// Text with single spaces, as names and visible texts are compared.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_three_kinds() {
        for (text, read) in [
            ("#a > b", json!({"css": "#a > b"})),
            ("role=link", json!({"role": "link", "name": null, "exact": false})),
            (
                r#"role=button[name="Say \"hi\""]"#,
                json!({"role": "button", "name": "Say \"hi\"", "exact": true}),
            ),
            ("role=cell[name*='a  b']", json!({"role": "cell", "name": "a b", "exact": false})),
            ("text=Save", json!({"text": "Save", "exact": false})),
            ("text=\"Save\"", json!({"text": "Save", "exact": true})),
        ] {
            assert_eq!(parse(text), Ok(read), "{text}");
        }
        for bad in
            ["role=", "role=button[name=Save]", "role=button[label='x']", "role=a b", "text=", "role=b['x"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
