//! Limits for Dockerfiles in both runtimes: even a short one can expand to gigabytes, in this process or in
//! the Docker daemon.

use std::collections::HashMap;

/// Most bytes of a Dockerfile.
const LARGEST: u64 = 1 << 20;
/// Most bytes of a line, as in Docker.
const LONGEST_LINE: usize = 65_535;
/// Most instructions.
const INSTRUCTIONS: usize = 1_000;
/// Most bytes of the configuration of an image: variables, labels, commands. No program could be started
/// with much more.
pub const CONFIG_LIMIT: usize = 96 << 10;
/// Assumed length of a variable that the Dockerfile does not set, in bytes.
const UNKNOWN: usize = 256;

/// Why a Dockerfile of `size` bytes is refused.
pub(super) fn too_large(size: u64) -> Option<String> {
    (size > LARGEST).then(|| format!("the Dockerfile has {size} bytes, more than {LARGEST}"))
}

/// Why a Dockerfile is refused: it, or its expanded variables, are too long. `args` are the build arguments.
pub(super) fn exceeded<'a>(
    text: &str,
    args: impl Iterator<Item = (&'a String, &'a String)>,
) -> Option<String> {
    let mut sizes = VariableSizes { values: args.map(|(name, value)| (name.clone(), value.len())).collect() };
    let mut config = 0_usize;
    let mut count = 0;
    for (line, instruction) in instructions(text) {
        let Ok(instruction) = instruction else {
            return Some(format!("line {line}: the line has more than {LONGEST_LINE} bytes"));
        };
        count += 1;
        if count > INSTRUCTIONS {
            return Some(format!("line {line}: a Dockerfile can have at most {INSTRUCTIONS} instructions"));
        }
        let (word, rest) = instruction.split_once(char::is_whitespace).unwrap_or((&instruction, ""));
        let size = match word.to_ascii_uppercase().as_str() {
            // Docker does not replace variables in commands.
            "RUN" => 0,
            "CMD" | "ENTRYPOINT" | "HEALTHCHECK" | "SHELL" | "ONBUILD" => {
                config += rest.len();
                0
            }
            "ENV" | "LABEL" => {
                let size = sizes.of(rest);
                config = config.saturating_add(size);
                sizes.set(rest);
                size
            }
            "ARG" => {
                let size = sizes.of(rest);
                sizes.set(rest);
                size
            }
            _ => sizes.of(rest),
        };
        if size > CONFIG_LIMIT {
            return Some(format!(
                "line {line}: the values of its variables make it longer than {CONFIG_LIMIT} bytes"
            ));
        }
        if config > CONFIG_LIMIT {
            return Some(format!(
                "line {line}: variables, labels and commands have more than {CONFIG_LIMIT} bytes"
            ));
        }
    }
    None
}

/// Upper bounds for the lengths of variables.
struct VariableSizes {
    values: HashMap<String, usize>,
}

impl VariableSizes {
    /// Upper bound for the length of the expanded `text`.
    fn of(&self, text: &str) -> usize {
        references(text).fold(text.len(), |size, name| {
            size.saturating_add(self.values.get(name).copied().unwrap_or(UNKNOWN))
        })
    }

    /// Records the variables of `NAME=value …` or `NAME value`.
    fn set(&mut self, text: &str) {
        let size = self.of(text);
        // Quotes and escapes may join several words, so each name gets the whole length.
        let names = text.split_whitespace().filter_map(|word| word.split_once('=')).map(|(name, _)| name);
        let first = text.split_whitespace().next();
        for name in names.chain(first) {
            let held = self.values.entry(name.to_owned()).or_default();
            *held = (*held).max(size);
        }
    }
}

/// The names of variables that `text` may refer to.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|after| {
        let after = after.strip_prefix('{').unwrap_or(after);
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        &after[..end.unwrap_or(after.len())]
    })
}

/// The instructions with their first lines, or an error for a line that is too long. All count, also those
/// in stages that are not built.
fn instructions(text: &str) -> impl Iterator<Item = (usize, Result<String, ()>)> {
    let escape = if text.lines().map_while(|line| line.trim().strip_prefix('#')).any(is_backtick) {
        '`'
    } else {
        '\\'
    };
    let mut lines = (1..).zip(text.lines());
    std::iter::from_fn(move || {
        let mut whole = String::new();
        let mut begun = None;
        for (at, line) in lines.by_ref() {
            if line.len() > LONGEST_LINE {
                return Some((at, Err(())));
            }
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            begun = begun.or(Some(at));
            let continued = trimmed.strip_suffix(escape);
            whole.push_str(continued.unwrap_or(trimmed));
            if continued.is_none() {
                break;
            }
            whole.push(' ');
        }
        begun.map(|at| (at, Ok(whole)))
    })
}

/// Whether a comment at the top makes the backtick the escape character.
fn is_backtick(comment: &str) -> bool {
    comment
        .split_once('=')
        .is_some_and(|(name, value)| name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write;

    use super::*;

    fn why(text: &str) -> String {
        exceeded(text, BTreeMap::new().iter()).unwrap_or_default()
    }

    fn doubled(line: &str, times: usize) -> String {
        let mut text = String::from("FROM a\nENV A=0123456789abcdef\n");
        for _ in 0..times {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    #[test]
    fn usual_dockerfiles_are_within_bounds() {
        let text = "# escape=\\\nARG V=3\nFROM python:$V AS x\nENV A=1 B=\"$A two\" \\\n  # why\n  PATH=/app:$PATH\nLABEL a=b\nWORKDIR $A\nCOPY . .\nRUN echo $A$A$A\nCMD [\"x\"]\n";
        assert_eq!(why(text), "");
        assert_eq!(why(&doubled("RUN echo $A$A", 900)), "");
        assert_eq!(why(&doubled("ENV A=$B", 100)), "");
    }

    #[test]
    fn variables_that_grow_are_refused_wherever_they_grow() {
        for line in [
            "ENV A=$A$A",
            "ENV A ${A}${A}",
            "ARG A=$A$A",
            "LABEL A=$A$A\nENV A=$A$A",
            "ENV A=\"x $A\" B=$A$A\nENV A=$B",
        ] {
            let why = why(&doubled(line, 36));
            assert!(
                why.contains("longer than 98304") || why.contains("have more than 98304"),
                "{line}: {why}"
            );
        }
        let long = format!("FROM a\nENV A={}\n", "x".repeat(30_000));
        for line in [
            "COPY $A$A$A$A /x",
            "WORKDIR $A$A$A$A",
            "LABEL x=$A$A$A$A",
            "FROM $A$A$A$A",
            "EXPOSE ${A:-1}${A}$A$A",
            "COPY a \\\n $A$A \\\n $A$A",
        ] {
            assert!(why(&format!("{long}{line}\n")).starts_with("line 3: "), "{line}");
        }
        assert!(why(&format!("# escape=`\n{long}COPY a `\n$A`\n$A$A$A\n")).starts_with("line 4: "));
        let args: BTreeMap<_, _> = [("A".to_owned(), "x".repeat(60_000))].into();
        assert!(exceeded("FROM a\nLABEL x=$A$A\n", args.iter()).is_some());
    }

    #[test]
    fn long_files_lines_and_commands_are_refused() {
        assert!(why(&doubled("RUN true", 1_000)).contains("at most 1000 instructions"));
        assert!(
            why(&format!("FROM a\nRUN {}\n", "x".repeat(70_000)))
                .contains("line 2: the line has more than 65535")
        );
        let command =
            format!("FROM a\nCMD [{}\\\n{}\\\n\"x\"]\n", "\"x\",".repeat(15_000), "\"x\",".repeat(15_000));
        assert!(why(&command).contains("have more than 98304"));
        let mut many = String::from("FROM a\n");
        for n in 0..900 {
            let _ = writeln!(many, "ENV A{n}={}", "x".repeat(200));
        }
        assert!(why(&many).contains("have more than 98304"));
        assert!(too_large(1 << 20).is_none() && too_large((1 << 20) + 1).is_some());
    }
}
