//! Files that something else than the program itself obeys, so that nobody is surprised by what a model writes.

use super::obeyed::{AGENTS, HARMLESS, OBEYED, OF_VERSION_CONTROL};

/// What a file at a path is to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusual {
    /// Never written: why.
    Refused(String),
    /// Written only if the user allows it: who obeys it.
    Obeyed(&'static str),
}

/// What the file at `path`, which has the form of a tree's paths, is to others; `None` for a usual file.
pub fn unusual(path: &str) -> Option<Unusual> {
    if let Some(c) = path.chars().find(|c| is_invisible(*c)) {
        let shown = visible(path);
        return Some(Unusual::Refused(format!(
            "{shown} holds the invisible character U+{:04X}, which can show another name than it has",
            u32::from(c)
        )));
    }
    let folded = folded(path);
    let names: Vec<&str> = folded.split('/').collect();
    if let Some(name) = names.iter().find(|name| is_of_version_control(name)) {
        return Some(Unusual::Refused(format!(
            "`{name}` belongs to version control, which runs what it names"
        )));
    }
    if names.contains(&".atoll") {
        return Some(Unusual::Refused("`.atoll` holds the runs of Atoll".to_owned()));
    }
    let (file, dirs) = names.split_last()?;
    let obeyed = OBEYED.iter().find(|(_, all)| all.iter().any(|known| is_one(known, file, dirs)));
    let who = obeyed.map(|(who, _)| *who).or_else(|| by_form(file, dirs));
    who.map(Unusual::Obeyed)
}

/// The path as systems that ignore the case of letters, and dots and spaces at the end of a name, compare it.
pub fn folded(path: &str) -> String {
    let lower = path.to_lowercase().replace('ſ', "s");
    let names: Vec<&str> = lower.split('/').map(|name| name.trim_end_matches([' ', '.'])).collect();
    names.join("/")
}

/// Whether the file, in these directories, is what `known` names.
fn is_one(known: &str, file: &str, dirs: &[&str]) -> bool {
    if let Some(dir) = known.strip_suffix('/') {
        return dirs.contains(&dir);
    }
    if let Some((dir, name)) = known.split_once('/') {
        return file == name && dirs.last() == Some(&dir);
    }
    match known.split_once('*') {
        Some((head, tail)) => {
            file.len() >= head.len() + tail.len() && file.starts_with(head) && file.ends_with(tail)
        }
        None => file == known,
    }
}

/// Who obeys a file that no list has, by its form.
fn by_form(file: &str, dirs: &[&str]) -> Option<&'static str> {
    if let Some((name, form)) = file.split_once('.')
        && AGENTS.contains(&name)
        && matches!(form, "md" | "mdc" | "local.md" | "override.md")
    {
        return Some("coding agents");
    }
    if dirs.contains(&"pipelines") && file.rsplit_once('.').is_some_and(|(_, form)| form == "toml") {
        return Some("atoll");
    }
    // Packages that are only installed have dot files of those who made them.
    let installed = dirs.contains(&"node_modules");
    let dot = |name: &str| name.starts_with('.');
    let dir = dirs.iter().any(|dir| dot(dir) && !HARMLESS.contains(&format!("{dir}/").as_str()));
    (!installed && (dir || dot(file) && !is_harmless(file)))
        .then_some("programs that look for this name, as for most that begin with a dot")
}

fn is_harmless(file: &str) -> bool {
    let passes_over =
        file.ends_with("ignore") && file[1..].chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let example = file.strip_prefix(".env.").is_some_and(|kind| {
        kind.split('.').any(|part| matches!(part, "example" | "sample" | "template" | "dist"))
    });
    passes_over || example || HARMLESS.contains(&file)
}

/// The directory among `paths` that git would take for a repository of its own, whose configuration it obeys.
pub fn bare_repository<'a>(paths: &(impl Iterator<Item = &'a str> + Clone)) -> Option<String> {
    let heads = paths.clone().filter_map(|path| {
        let lower = path.to_lowercase();
        (lower == "head" || lower.ends_with("/head")).then(|| path[..path.len() - "head".len()].to_owned())
    });
    heads.into_iter().find(|dir| {
        let has = |what: &str| {
            paths.clone().any(|path| {
                path.strip_prefix(dir.as_str()).is_some_and(|rest| rest.to_lowercase().starts_with(what))
            })
        };
        has("objects/") && has("refs/")
    })
}

/// `text` with characters that are not seen, or change what is seen, as escapes.
pub fn visible(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, c| {
        if is_invisible(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// Names that some system reads as `.git`, and those of other version control.
fn is_of_version_control(name: &str) -> bool {
    name == ".git"
        || name.starts_with(".git:")
        || name.strip_prefix("git~").is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
        || OF_VERSION_CONTROL.contains(&name)
}

/// Characters that are not seen, or change the order in which others are seen.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_files_are_usual() {
        for path in [
            "main.py",
            "src/main.rs",
            "Dockerfile",
            ".dockerignore",
            ".gitignore",
            ".gitattributes",
            ".env.example",
            "README.md",
            "github/x",
            "docs/agents.txt",
            "config/app.toml",
            "größe.md",
            "日本語.txt",
            "a b.txt",
            "HEAD",
            "objects/x",
            "package.json",
            "Makefile",
            "tests/git.py",
            "atoll/x.toml",
            "legit~1x",
            ".helmignore",
            ".npmignore",
            "web/.prettierrc.json",
            "web/.well-known/security.txt",
            ".env.local.example",
            ".pytest_cache/v/x",
            "node_modules/a/.editorrc",
            "docker-compose.yml",
            "rust-toolchain.toml",
            "Cargo.toml",
            "Gemfile",
            "gradlew",
            "tox.ini",
            "setup.cfg",
            "conftest.py",
            "build.rs",
            "schemas/order.json",
            "prompts/summary.md",
            "src/pipelines/load.py",
            "data/cvs/anna.pdf",
            "docs/claude-shannon.md",
            "misery.toml",
        ] {
            assert_eq!(unusual(path), None, "{path}");
        }
    }

    #[test]
    fn what_others_obey_needs_consent() {
        for path in [
            ".envrc",
            "sub/.ENVRC",
            ".github/workflows/ci.yml",
            ".vscode/tasks.json",
            "CLAUDE.md",
            "app/AGENTS.md",
            ".claude/settings.json",
            ".mcp.json",
            ".husky/pre-commit",
            ".npmrc",
            ".cargo/config.toml",
            "Jenkinsfile",
            "atoll.toml",
            "x.code-workspace",
            ".gitmodules",
            ".ssh/authorized_keys",
            ".bashrc",
            ".bashrc.",
            "AGENTſ.md",
            ".dir-locals-2.el",
            ".helix/languages.toml",
            "opencode.json",
            "QWEN.md",
            "Gemini.local.md",
            ".junie/guidelines.md",
            "buildspec.yml",
            "buildspec-release.yml",
            "cloudbuild.yaml",
            ".cshrc",
            ".tcshrc",
            ".Rprofile",
            ".env",
            ".nobody-knows-this",
            "sub/.nobody-knows-this/x.txt",
            ".gitignore.d/x",
            ".env.production",
            "node_modules/a/.github/workflows/x.yml",
            "pipelines/validate.toml",
            "sub/Pipelines/deep/x.toml",
            "environment.toml",
            "mise.local.toml",
            "CVS/Root",
        ] {
            assert!(matches!(unusual(path), Some(Unusual::Obeyed(_))), "{path}");
        }
    }

    #[test]
    fn what_can_only_deceive_or_harm_is_refused() {
        for path in [
            ".git/hooks/pre-commit",
            "sub/.GIT/config",
            "git~1/config",
            ".git./config",
            ".git:x/y",
            ".atoll/atoll.db",
            "sub/.Atoll/x",
            ".hg/hgrc",
            "sub/.SVN/x",
            "_darcs/prefs/defaults",
            ".jj/repo/config.toml",
            "a\u{202e}gnp.exe",
            "main\u{200b}.py",
            ".g\u{200c}it/config",
            "x\u{2066}y",
            "\u{feff}a",
            "a\u{e0041}b",
            "soft\u{ad}hyphen",
        ] {
            assert!(matches!(unusual(path), Some(Unusual::Refused(_))), "{path:?}");
        }
        let Some(Unusual::Refused(why)) = unusual("a\u{202e}b") else { panic!() };
        assert!(why.contains("a\\u{202e}b holds the invisible character U+202E"), "{why}");
    }

    #[test]
    fn a_repository_without_a_work_tree_is_found() {
        let bare = ["x/HEAD", "x/config", "x/objects/info/y", "x/refs/heads/z", "main.py"];
        assert_eq!(bare_repository(&bare.into_iter()), Some("x/".to_owned()));
        assert_eq!(bare_repository(&["Head", "objects/a", "refs/b"].into_iter()), Some(String::new()));
        assert_eq!(bare_repository(&["x/HEAD", "x/objects/a", "refs/b"].into_iter()), None);
    }
}
