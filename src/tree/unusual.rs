//! Files that other programs read by themselves, so that a model cannot write them without the consent of
//! the user.

use std::collections::BTreeMap;

use super::obeyed::{AGENTS, HARMLESS, OBEYED, OF_CVS, OF_VERSION_CONTROL};

/// Classification of an unusual file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusual {
    /// Never written, with the reason.
    Refused(String),
    /// Written only if the user allows it, with the programs that read it.
    Obeyed(&'static str),
}

/// The classification of the file at the normalized `path`; `None` for an ordinary file.
pub fn unusual(path: &str) -> Option<Unusual> {
    if let Some(c) = path.chars().find(|c| is_invisible(*c)) {
        let shown = visible(path);
        return Some(Unusual::Refused(format!(
            "{shown} contains the invisible character U+{:04X}, which can disguise the name",
            u32::from(c)
        )));
    }
    let folded = folded(path);
    let names: Vec<&str> = folded.split('/').collect();
    // A directory in another case may belong to the program, unless it contains files of CVS.
    let in_cvs = path.split('/').rev().skip(1).any(|name| name == "CVS")
        || names.windows(2).any(|names| names[0] == "cvs" && OF_CVS.contains(&names[1]));
    let own = names.iter().find(|name| is_of_version_control(name)).copied();
    if let Some(name) = own.or(in_cvs.then_some("CVS")) {
        return Some(Unusual::Refused(format!(
            "`{name}` belongs to a version control system, which runs commands that are configured in it"
        )));
    }
    if names.contains(&".atoll") {
        return Some(Unusual::Refused("`.atoll` contains the runs of Atoll".to_owned()));
    }
    let (file, dirs) = names.split_last()?;
    let obeyed = OBEYED.iter().find(|(_, all)| all.iter().any(|known| is_one(known, file, dirs)));
    let who = obeyed.map(|(who, _)| *who).or_else(|| by_form(file, dirs));
    who.map(Unusual::Obeyed)
}

/// The path as compared by systems that ignore case, and dots and spaces at the end of names.
pub fn folded(path: &str) -> String {
    let lower = path.to_lowercase().replace('ſ', "s");
    let names: Vec<&str> = lower.split('/').map(|name| name.trim_end_matches([' ', '.'])).collect();
    names.join("/")
}

/// Whether the file, in these directories, matches `known`.
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

/// The programs that read a file that is not in the lists, by its form.
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
    // Installed packages contain dot files of their authors.
    let installed = dirs.contains(&"node_modules");
    let dot = |name: &str| name.starts_with('.');
    let dir = dirs.iter().any(|dir| dot(dir) && !HARMLESS.contains(&format!("{dir}/").as_str()));
    (!installed && (dir || dot(file) && !is_harmless(file)))
        .then_some("programs that search this name, like most names that begin with a dot")
}

fn is_harmless(file: &str) -> bool {
    let passes_over =
        file.ends_with("ignore") && file[1..].chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let example = file.strip_prefix(".env.").is_some_and(|kind| {
        kind.split('.').any(|part| matches!(part, "example" | "sample" | "template" | "dist"))
    });
    passes_over || example || HARMLESS.contains(&file)
}

/// Entries by which git recognizes a bare repository.
const OF_BARE: [&str; 4] = ["HEAD", "commondir", "objects", "refs"];

/// Entries that git reads or writes in such a directory.
const IN_BARE: [&str; 14] = [
    "HEAD",
    "commondir",
    "objects",
    "refs",
    "config",
    "config.worktree",
    "hooks",
    "info",
    "packed-refs",
    "worktrees",
    "modules",
    "logs",
    "index",
    "gitdir",
];

/// Whether git treats a directory as a repository and applies its configuration. `has` returns whether an
/// entry exists in it. The target of `commondir` may be anywhere.
fn is_bare(has: impl Fn(&str) -> bool) -> bool {
    has("HEAD") && (has("commondir") || has("objects") && has("refs"))
}

/// Whether a directory is or becomes a repository for git if a path that begins with `first` is created in
/// it. `has` returns whether an entry exists.
pub fn belongs_to_bare(first: &str, has: impl Fn(&str) -> bool) -> bool {
    let is = |name: &str| first.eq_ignore_ascii_case(name);
    IN_BARE.into_iter().any(is) && is_bare(|name| is(name) || has(name))
}

/// The directory among `paths` that git would treat as a repository, whose configuration it applies.
pub fn bare_repository<'a>(paths: &(impl Iterator<Item = &'a str> + Clone)) -> Option<String> {
    let mut dirs: BTreeMap<&str, [bool; OF_BARE.len()]> = BTreeMap::new();
    for path in paths.clone() {
        let mut start = 0;
        for name in path.split('/') {
            if let Some(which) = OF_BARE.iter().position(|known| name.eq_ignore_ascii_case(known)) {
                dirs.entry(&path[..start]).or_default()[which] = true;
            }
            start += name.len() + 1;
        }
    }
    let known = |name: &str| OF_BARE.iter().position(|known| *known == name);
    let mut dirs = dirs.into_iter();
    dirs.find(|(_, there)| is_bare(|name| known(name).is_some_and(|which| there[which])))
        .map(|(dir, _)| dir.to_owned())
}

/// `text` with escapes for invisible characters and those that change the display of others.
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

/// Whether some system treats the name as `.git`, or it belongs to another version control system.
fn is_of_version_control(name: &str) -> bool {
    name == ".git"
        || name.starts_with(".git:")
        || name.strip_prefix("git~").is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
        || OF_VERSION_CONTROL.contains(&name)
}

/// Whether a character is invisible or changes the display order of others.
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
            "cvs/index.html",
            ".babelrc",
            ".clang-format",
            "vite.config.ts",
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
            "web/.prettierrc.json",
            "prettier.config.mjs",
            ".eslintrc.cjs",
            "eslint.config.js",
            ".flake8",
            ".yarnrc.yml",
            ".idea/workspace.xml",
            ".pre-commit-config.yaml",
            "lefthook.yml",
            "lint-staged.config.js",
            "wrangler.toml",
            "wrangler.jsonc",
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
            "CVS/Root",
            "cvs/Checkin.prog",
            "sub/CVS/Base/x",
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
        assert!(why.contains("a\\u{202e}b contains the invisible character U+202E"), "{why}");
    }

    #[test]
    fn a_repository_without_a_work_tree_is_found() {
        let bare = ["x/HEAD", "x/config", "x/objects/info/y", "x/refs/heads/z", "main.py"];
        assert_eq!(bare_repository(&bare.into_iter()), Some("x/".to_owned()));
        assert_eq!(bare_repository(&["Head", "objects/a", "refs/b"].into_iter()), Some(String::new()));
        assert_eq!(bare_repository(&["x/HEAD", "x/objects/a", "refs/b"].into_iter()), None);
        // Git only checks whether it can enter them.
        assert_eq!(bare_repository(&["x/HEAD", "x/objects", "x/refs"].into_iter()), Some("x/".to_owned()));
        assert_eq!(bare_repository(&["x/HEAD", "x/commondir"].into_iter()), Some("x/".to_owned()));
        let many: Vec<String> = (0..50_000).map(|n| format!("{n}/HEAD")).collect();
        assert_eq!(bare_repository(&many.iter().map(String::as_str)), None);
    }

    #[test]
    fn a_file_that_makes_a_repository_is_told_from_one_beside_it() {
        let there = |name: &str| ["HEAD", "objects"].contains(&name);
        assert!(belongs_to_bare("refs", there) && belongs_to_bare("commondir", there));
        assert!(!belongs_to_bare("config", there) && !belongs_to_bare("notes.md", there));
        let whole = |name: &str| OF_BARE.contains(&name);
        assert!(belongs_to_bare("config", whole) && belongs_to_bare("hooks", whole));
        assert!(!belongs_to_bare("main", whole), "a work tree inside it");
    }
}
