//! The part of the Dockerfile language that needs no container: read, not interpreted.

use std::collections::HashMap;

use serde_json::from_str;

/// An instruction and the line where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line, from 1.
    pub line: usize,
    /// The text, continued lines joined.
    pub text: String,
    /// What it says.
    pub order: Order,
}

/// What an instruction says. Variables are not replaced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// `WORKDIR`
    Workdir(String),
    /// `COPY` and `ADD` of local files.
    Copy {
        /// Sources in the tree.
        from: Vec<String>,
        /// The target.
        to: String,
    },
    /// `ENV`
    Env(Vec<(String, String)>),
    /// `ARG`
    Arg(String, Option<String>),
    /// `RUN`
    Run(Vec<String>),
    /// `CMD`
    Cmd(Vec<String>),
    /// `ENTRYPOINT`
    Entrypoint(Vec<String>),
    /// Something that has no meaning for a process: `USER`, `LABEL`, `EXPOSE`, …
    Nothing,
}

/// What a Dockerfile says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The image that the last stage begins with; where that is an earlier stage, the one which that begins with.
    pub base: String,
    /// The instructions of the last stage.
    pub steps: Vec<Step>,
}

/// A Dockerfile, or what of it is not understood, with its line.
pub fn parse(text: &str) -> Result<Dockerfile, String> {
    let mut steps = Vec::new();
    let mut stages: HashMap<String, String> = HashMap::new();
    let mut base = String::new();
    let mut started = false;
    for (line, text) in logical_lines(text) {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        let rest = rest.trim();
        if word.eq_ignore_ascii_case("FROM") {
            steps.retain(|step: &Step| !started && matches!(step.order, Order::Arg(..)));
            started = true;
            let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
            let named = words.next().unwrap_or_default();
            base = stages.get(&named.to_lowercase()).cloned().unwrap_or_else(|| named.to_owned());
            if let Some(stage) = words.nth(1) {
                stages.insert(stage.to_lowercase(), base.clone());
            }
            continue;
        }
        let order =
            order(&word.to_ascii_uppercase(), rest).map_err(|why| format!("line {line}: {why}: {text}"))?;
        if !started && !matches!(order, Order::Arg(..)) {
            return Err(format!("line {line}: a Dockerfile begins with FROM: {text}"));
        }
        steps.push(Step { line, text, order });
    }
    if started { Ok(Dockerfile { base, steps }) } else { Err("the Dockerfile has no FROM".to_owned()) }
}

fn order(word: &str, rest: &str) -> Result<Order, String> {
    Ok(match word {
        "WORKDIR" => Order::Workdir(unquote(rest)),
        "COPY" | "ADD" => copy(rest)?,
        "ENV" => Order::Env(pairs(rest)?),
        "ARG" => match rest.split_once('=') {
            Some((name, value)) => Order::Arg(name.to_owned(), Some(unquote(value))),
            None => Order::Arg(rest.to_owned(), None),
        },
        "RUN" if rest.starts_with("<<") => {
            return Err("the process runtime knows no here-documents".to_owned());
        }
        "RUN" if rest.starts_with("--") => {
            return Err("the process runtime knows no options of RUN".to_owned());
        }
        "RUN" => Order::Run(command(rest)),
        "CMD" => Order::Cmd(command(rest)),
        "ENTRYPOINT" => Order::Entrypoint(command(rest)),
        "EXPOSE" | "USER" | "LABEL" | "HEALTHCHECK" | "MAINTAINER" | "STOPSIGNAL" | "VOLUME" => {
            Order::Nothing
        }
        other => return Err(format!("the process runtime does not know {other}")),
    })
}

fn copy(rest: &str) -> Result<Order, String> {
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (name, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        if !(name.starts_with("chown=") || name.starts_with("chmod=") || name == "link") {
            return Err(format!("the process runtime does not know --{name}"));
        }
        rest = after.trim_start();
    }
    let mut words: Vec<String> =
        from_str(rest).unwrap_or_else(|_| rest.split_whitespace().map(unquote).collect());
    if words.iter().any(|word| word.contains("://") || word.starts_with("<<")) {
        return Err("the process runtime copies files of the tree only".to_owned());
    }
    match words.pop() {
        Some(to) if !words.is_empty() => Ok(Order::Copy { from: words, to }),
        _ => Err("a source and a target are needed".to_owned()),
    }
}

/// A command in exec form as it is, in shell form for `sh -c`.
fn command(rest: &str) -> Vec<String> {
    from_str(rest).unwrap_or_else(|_| vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()])
}

fn pairs(rest: &str) -> Result<Vec<(String, String)>, String> {
    let first = rest.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = rest.split_once(char::is_whitespace).ok_or("a name and a value are needed")?;
        return Ok(vec![(name.to_owned(), unquote(value.trim()))]);
    }
    let mut found = Vec::new();
    for word in words(rest) {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` has no value"))?;
        found.push((name.to_owned(), unquote(value)));
    }
    Ok(found)
}

/// Words at spaces outside of quotes; the quotes stay.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in text.chars() {
        match (quote, c) {
            (None, ' ' | '\t') => words.push(String::new()),
            (open, c) => {
                if open == Some(c) {
                    quote = None;
                } else if open.is_none() && (c == '"' || c == '\'') {
                    quote = Some(c);
                }
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn unquote(text: &str) -> String {
    let inner = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    inner('"').or_else(|| inner('\'')).unwrap_or(text).to_owned()
}

fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (i, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty()) {
            continue;
        }
        let (part, goes_on) =
            trimmed.strip_suffix('\\').map_or((trimmed, false), |part| (part.trim_end(), true));
        match lines.last_mut() {
            Some((_, whole)) if open => {
                whole.push(' ');
                whole.push_str(part);
            }
            _ => lines.push((i + 1, part.to_owned())),
        }
        open = goes_on;
    }
    lines
}

/// `text` with `$NAME`, `${NAME}` and `${NAME:-default}` replaced; unknown names become nothing. What would be longer than
/// `most` bytes is an error.
pub fn expand<'v>(
    text: &'v str,
    most: usize,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some((inner, tail)) = after.strip_prefix('{').and_then(|t| t.split_once('}')) {
            let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
            out.push_str(lookup(name).filter(|v| !v.is_empty()).unwrap_or(default));
            rest = tail;
        } else {
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
            out.push_str(if end == 0 { "$" } else { lookup(&after[..end]).unwrap_or_default() });
            rest = &after[end..];
        }
        if out.len() > most {
            break;
        }
    }
    if out.len() + rest.len() > most {
        return Err(format!("the values of its variables make it longer than {most} bytes"));
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(text: &str) -> Vec<Order> {
        parse(text).unwrap().steps.into_iter().map(|step| step.order).collect()
    }

    #[test]
    fn the_last_stage_is_read_in_both_forms() {
        let text = "# c\nFROM a AS one\nRUN make\nFROM b\nWORKDIR /app\nCOPY --chown=1:1 a.py b/ ./\nENV A=1 B=\"x y\"\nENV C d e\nRUN one && \\\n  # why\n  two\nEXPOSE 80\nENTRYPOINT [\"python3\", \"a.py\"]\nCMD serve $PORT\n";
        let sh = |line: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()];
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(
            orders(text),
            [
                Order::Workdir("/app".into()),
                Order::Copy { from: vec!["a.py".into(), "b/".into()], to: "./".into() },
                Order::Env(vec![pair("A", "1"), pair("B", "x y")]),
                Order::Env(vec![pair("C", "d e")]),
                Order::Run(sh("one && two")),
                Order::Nothing,
                Order::Entrypoint(vec!["python3".into(), "a.py".into()]),
                Order::Cmd(sh("serve $PORT")),
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        let error = |text: &str| parse(text).unwrap_err();
        assert!(error("FROM a\nFOO bar").starts_with("line 2: the process runtime does not know FOO"));
        assert!(
            error("FROM a\n\nCOPY --from=x /a /b")
                .starts_with("line 3: the process runtime does not know --from")
        );
        assert!(error("FROM a\nADD https://x/y /z").contains("files of the tree only"));
        assert!(error("RUN x").contains("begins with FROM"));
        assert!(error("").contains("no FROM"));
    }

    #[test]
    fn variables_are_replaced() {
        let lookup = |name: &str| (name == "A").then_some("1");
        assert_eq!(expand("$A-${A}-${B:-two}-$B-$", 99, &lookup).unwrap(), "1-1-two--$");
        let long = "x".repeat(30);
        let lookup = |name: &str| (name == "A").then_some(long.as_str());
        assert_eq!(expand("$A$A$A", 90, &lookup).unwrap().len(), 90);
        for bomb in ["$A$A$A.", "$A$A$A$A$A", "${A}${A}${A}${A}", "${B:-$A}0123456789", &"y".repeat(91)] {
            assert_eq!(expand(bomb, 90, &lookup).is_err(), bomb.len() != 18, "{bomb}");
        }
    }

    #[test]
    fn the_base_image_is_that_of_the_last_stage() {
        let base = |text: &str| parse(text).unwrap().base;
        assert_eq!(base("FROM node:20\nRUN x\nFROM --platform=x python:3 AS two\n"), "python:3");
        assert_eq!(base("FROM node:20 AS One\nFROM b as two\nFROM one\n"), "node:20");
    }
}
