//! Paths that are allowed in a tree.

const MAX_PATH: usize = 1024;
const MAX_NAME: usize = 255;
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// The normalized `path` (`./a//b` becomes `a/b`), or why it is not allowed: absolute, outside, in a `.git`
/// directory, a device or drive of some system, control characters, too long.
pub fn check_path(path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        return Err("it is absolute".to_owned());
    }
    if path.contains('\\') {
        return Err("it contains a backslash; names are separated by `/`".to_owned());
    }
    if let Some(c) = path.chars().find(|c| c.is_control()) {
        return Err(format!("it contains the control character {c:?}"));
    }
    if path.ends_with('/') {
        return Err("it ends in `/`, which is a directory, but a tree contains only files".to_owned());
    }
    let mut names = Vec::new();
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        check_name(name)?;
        names.push(name);
    }
    let path = names.join("/");
    match path.len() {
        0 => Err("it is empty".to_owned()),
        1..=MAX_PATH => Ok(path),
        long => Err(format!("it has {long} bytes, more than {MAX_PATH}")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name == ".." {
        return Err("`..` is not allowed".to_owned());
    }
    if name.trim() != name || name.ends_with('.') {
        return Err(format!("{name:?} begins or ends with a space, or ends with a dot"));
    }
    if name.eq_ignore_ascii_case(".git") {
        return Err("`.git` is reserved for git".to_owned());
    }
    let mut start = name.chars();
    if start.next().is_some_and(|c| c.is_ascii_alphabetic()) && start.next() == Some(':') {
        return Err(format!("{name:?} begins with a drive letter"));
    }
    if is_device(name) {
        return Err(format!("{name:?} is the name of a device on some systems"));
    }
    if name.len() > MAX_NAME {
        return Err(format!("a name in it has {} bytes, more than {MAX_NAME}", name.len()));
    }
    Ok(())
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    DEVICES[..4].contains(&stem.as_str())
        || DEVICES[4..].iter().any(|device| {
            stem.strip_prefix(device).is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_paths_are_brought_into_one_form() {
        for (given, kept) in [
            ("a", "a"),
            ("./a//b", "a/b"),
            ("a/./b.c", "a/b.c"),
            (".github/x", ".github/x"),
            ("a..b/...c", "a..b/...c"),
            (".gitignore", ".gitignore"),
            ("command", "command"),
            ("compute/lpt10", "compute/lpt10"),
            ("größe.md", "größe.md"),
            ("a b", "a b"),
        ] {
            assert_eq!(check_path(given), Ok(kept.to_owned()));
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        let deep = "dir/".repeat(300) + "x";
        for given in [
            "",
            ".",
            "./",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "a\\b",
            "..\\x",
            "a\0b",
            "a\nb",
            "a/",
            ".git/config",
            "sub/.GIT/hooks/x",
            "C:/x",
            "c:x",
            "nul",
            "NUL.txt",
            "a/com1",
            "LPT9.log",
            "x.",
            "x /y",
            " x",
            &long,
            &deep,
        ] {
            assert!(check_path(given).is_err(), "{given:?}");
        }
    }
}
