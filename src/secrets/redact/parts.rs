//! Parts of a secret that are secret by themselves: lines, fields of a key file, the password of a URL.

use serde_json::Value;

use super::decoded::DecodedText;
use super::forms::SHORTEST;
use crate::visible::userinfo;

/// Shorter lines that only give a structure are not masked by themselves.
const LONG: usize = 16;

/// Parts of field names that mark a value as secret.
const TELLING: [&str; 8] = ["key", "secret", "token", "pass", "pwd", "credential", "auth", "private"];

/// Most levels of a JSON secret whose fields are checked.
const DEEP: usize = 16;

/// A value and its secret parts, which programs may show individually.
pub(super) fn parts(value: &str) -> Vec<String> {
    let mut parts = vec![value.to_owned(), value.trim().to_owned()];
    add_lines(value, &mut parts);
    if let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(value) {
        add_fields("", &json, DEEP, &mut parts);
    }
    for pair in userinfo(value) {
        let password = pair.split_once(':').map_or(pair, |(_, password)| password);
        let decoded = DecodedText::of(password.as_bytes()).unescaped();
        parts.extend(decoded.map(|view| String::from_utf8_lossy(&view.bytes).into_owned()));
        parts.push(password.to_owned());
    }
    parts.retain(|part| part.trim().len() >= SHORTEST);
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// The lines of a text of several lines, and the values of lines such as `NAME=value`.
fn add_lines(text: &str, parts: &mut Vec<String>) {
    if !text.trim().contains('\n') {
        return;
    }
    for line in text.lines().map(str::trim).filter(|line| !is_structure(line)) {
        parts.push(line.to_owned());
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        let name = name.trim().trim_matches(['"', '\'']);
        let value = value.trim().trim_end_matches(',').trim_matches(['"', '\'']);
        if is_secret(name, value) {
            parts.push(value.to_owned());
        }
    }
}

fn add_fields(name: &str, value: &Value, deep: usize, parts: &mut Vec<String>) {
    if deep == 0 {
        return;
    }
    match value {
        Value::String(text) => {
            add_lines(text, parts);
            if text.trim().contains('\n') || is_secret(name, text) {
                parts.extend([text.clone(), text.trim().to_owned()]);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| add_fields(name, item, deep - 1, parts)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| add_fields(name, value, deep - 1, parts));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether the field `name` of a secret is itself secret, because of its name or because it looks like a
/// key. Addresses are not.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_address = value.contains("://") && userinfo(value).next().is_none();
    let is_key = value.len() >= LONG
        && value.contains(|c: char| c.is_ascii_digit())
        && value.contains(|c: char| c.is_ascii_alphabetic())
        && !value.contains([' ', '@', '.']);
    !is_address && (is_key || TELLING.iter().any(|telling| name.contains(telling)))
}

/// Whether a line of a secret is not secret: `-----BEGIN`, or a short line that all such files have, such
/// as `[default]` or `users:`.
fn is_structure(line: &str) -> bool {
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || " _-.\"".contains(c));
    let section = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let key = line.strip_suffix([':', '{', '[', '(']);
    line.starts_with("---") || (line.len() < LONG && section.or(key).is_some_and(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_file_of_keys_are_secret_by_themselves() {
        let key =
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASC\n-----END PRIVATE KEY-----\n";
        let account = serde_json::json!({
            "type": "service_account", "project_id": "shop", "client_id": "100200300400500600x",
            "private_key": key, "token_uri": "https://oauth2.example/token", "nested": [{ "password": "hunter22" }],
        });
        let parts = parts(&account.to_string());
        for secret in [key.trim(), "MIIEvQIBADANBgkqhkiG9w0B", "AQEFAASC", "hunter22", "100200300400500600x"]
        {
            assert!(parts.iter().any(|part| part == secret), "{secret}: {parts:?}");
        }
        for public in ["service_account", "https://oauth2.example/token", "-----BEGIN PRIVATE KEY-----"] {
            assert!(parts.iter().all(|part| part != public), "{public}: {parts:?}");
        }
    }

    #[test]
    fn values_of_lines_and_passwords_of_urls_are_secret_by_themselves() {
        let file = parts("HOST=shop.example\nDB_PASSWORD='hunter2-hunter2'\nmode: development\n");
        assert!(file.iter().any(|part| part == "hunter2-hunter2"), "{file:?}");
        assert!(file.iter().all(|part| part != "shop.example" && part != "development"), "{file:?}");
        let url = parts("postgres://me:pa%24%24word@db/shop");
        assert!(
            ["pa%24%24word", "pa$$word"].iter().all(|form| url.iter().any(|part| part == form)),
            "{url:?}"
        );
    }
}
