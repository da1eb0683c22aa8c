//! Files that something else than the program itself obeys, so that nobody is surprised by what a model writes.

use std::collections::BTreeMap;

use super::obeyed::{AGENTS, HARMLESS, OBEYED, OF_CVS, OF_VERSION_CONTROL};

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
    // A directory of another case may well be the program's own, but for the files that CVS keeps in one.
    let in_cvs = path.split('/').rev().skip(1).any(|name| name == "CVS")
        || names.windows(2).any(|names| names[0] == "cvs" && OF_CVS.contains(&names[1]));
    let own = names.iter().find(|name| is_of_version_control(name)).copied();
    if let Some(name) = own.or(in_cvs.then_some("CVS")) {
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

/// By which git knows a directory for a repository, though it has no work tree and is not called `.git`.
const OF_BARE: [&str; 4] = ["HEAD", "commondir", "objects", "refs"];

/// What git obeys or keeps in such a directory.
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

/// Whether git takes a directory for a repository of its own, whose configuration it obeys. `has` says whether there is a file
/// or directory of that name in it. What `commondir` names may be anywhere.
fn is_bare(has: impl Fn(&str) -> bool) -> bool {
    has("HEAD") && (has("commondir") || has("objects") && has("refs"))
}

/// Whether a directory is a repository to git, or becomes one, by something new that begins with the name `first` in it. `has`
/// says what is there already.
pub fn belongs_to_bare(first: &str, has: impl Fn(&str) -> bool) -> bool {
    let is = |name: &str| first.eq_ignore_ascii_case(name);
    IN_BARE.into_iter().any(is) && is_bare(|name| is(name) || has(name))
}

/// The directory among `paths` that git would take for a repository of its own, whose configuration it obeys.
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
        assert!(why.contains("a\\u{202e}b holds the invisible character U+202E"), "{why}");
    }

    #[test]
    fn a_repository_without_a_work_tree_is_found() {
        let bare = ["x/HEAD", "x/config", "x/objects/info/y", "x/refs/heads/z", "main.py"];
        assert_eq!(bare_repository(&bare.into_iter()), Some("x/".to_owned()));
        assert_eq!(bare_repository(&["Head", "objects/a", "refs/b"].into_iter()), Some(String::new()));
        assert_eq!(bare_repository(&["x/HEAD", "x/objects/a", "refs/b"].into_iter()), None);
        // Git only asks whether it may enter them.
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
        assert!(!belongs_to_bare("main", whole), "a work tree inside of it");
    }
}
