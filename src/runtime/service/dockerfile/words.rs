//! Lines, words, quotes and variables of a Dockerfile.

use std::iter::Peekable;
use std::str::Chars;

/// Most nested defaults of variables: `${A:-${B:-…}}`.
const DEEPEST: usize = 16;

/// The escape character, which a directive at the top may change to the backtick.
pub(super) fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    let mut pairs = directives.map_while(|line| line.split_once('='));
    let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("escape"));
    if found.is_some_and(|(_, value)| value.trim() == "`") { '`' } else { '\\' }
}

/// The instructions with their first lines. Continued lines are joined and comments removed.
pub(super) fn logical_lines(text: &str, escape: char) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (at, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let part = if goes_on { line.trim_end() } else { trimmed };
        let (part, continued) = part.strip_suffix(escape).map_or((part, false), |part| (part, true));
        match lines.last_mut() {
            Some((_, whole)) if goes_on => whole.push_str(part),
            _ => lines.push((at, part.to_owned())),
        }
        goes_on = continued;
    }
    for (_, line) in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

/// Splits at spaces outside quotes; quotes and escapes stay.
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let Some(word) = words.last_mut() else { break };
        match quote {
            None if c.is_whitespace() => {
                words.push(String::new());
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `NAME=VALUE …`, or `NAME VALUE`.
pub(super) fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = words(text, escape);
    let unnamed = || "the name before `=` is missing".to_owned();
    if !words.first().is_some_and(|word| word.contains('=')) {
        let (name, value) = text.split_once(char::is_whitespace).ok_or("a name and a value are required")?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` has no value"))?;
        if name.is_empty() { Err(unnamed()) } else { Ok((name.to_owned(), value.to_owned())) }
    };
    words.iter().map(pair).collect()
}

/// `text` without its quotes and escapes, and with `$NAME`, `${NAME}`, `${NAME:-default}`,
/// `${NAME:+instead}` and
/// `${NAME:?message}` replaced; unknown names become empty. A result of more than `most` bytes is an error.
pub fn expand<'v>(
    text: &str,
    escape: char,
    most: usize,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
) -> Result<String, String> {
    let mut expansion = Expansion { left: text.chars().peekable(), escape, most, lookup, depth: 0 };
    let out = expansion.until(None)?;
    expansion.check(&out)?;
    Ok(out)
}

struct Expansion<'t, 'v, 'l> {
    left: Peekable<Chars<'t>>,
    escape: char,
    most: usize,
    lookup: &'l dyn Fn(&str) -> Option<&'v str>,
    depth: usize,
}

impl Expansion<'_, '_, '_> {
    fn check(&self, out: &str) -> Result<(), String> {
        if out.len() <= self.most {
            return Ok(());
        }
        Err(format!("the values of its variables make it longer than {} bytes", self.most))
    }

    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.left.next() {
            match c {
                c if Some(c) == end => return Ok(out),
                '\'' => self.single(&mut out)?,
                '"' => self.double(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => out.push(self.left.next().unwrap_or(c)),
                c => out.push(c),
            }
            self.check(&out)?;
        }
        match end {
            Some(end) => Err(format!("a `{end}` is missing")),
            None => Ok(out),
        }
    }

    fn single(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.left.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => return Err("a closing quote is missing".to_owned()),
            }
        }
    }

    fn double(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.left.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => {
                    let special = |next: &char| *next == '"' || *next == '$' || *next == c;
                    out.push(self.left.next_if(special).unwrap_or(c));
                }
                Some(c) => out.push(c),
                None => return Err("a closing quote is missing".to_owned()),
            }
            self.check(out)?;
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.left.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }

    fn variable(&mut self) -> Result<String, String> {
        if self.left.next_if_eq(&'{').is_none() {
            let name = self.name();
            let value = (self.lookup)(&name).unwrap_or_default();
            return Ok(if name.is_empty() { "$".to_owned() } else { value.to_owned() });
        }
        let name = self.name();
        let value = (self.lookup)(&name).map(ToOwned::to_owned);
        let counts_empty = self.left.next_if_eq(&':').is_some();
        let kind = self.left.next();
        if kind == Some('}') && !counts_empty && !name.is_empty() {
            return Ok(value.unwrap_or_default());
        }
        let Some(kind @ ('-' | '+' | '?')) = kind else {
            return Err(format!("`${{{name}…` is not a supported form of a variable"));
        };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("its variables are nested too deeply".to_owned());
        }
        let word = self.until(Some('}'))?;
        self.depth -= 1;
        let value = value.filter(|value| !(counts_empty && value.is_empty()));
        match (kind, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) => Err(format!("the variable `{name}` is not set: {word}")),
        }
    }
}
