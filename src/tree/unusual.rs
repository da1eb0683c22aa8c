//! Files that something else than the program itself obeys, so that nobody is surprised by what a model writes.

/// What a file at a path is to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusual {
    /// Never written: why.
    Refused(String),
    /// Written only if the user allows it: who obeys it.
    Obeyed(&'static str),
}

/// Files and directories by who obeys them without being asked. A name that ends in `/` is a directory, one with another `/`
/// stands at that path, any other name is a file anywhere. All are compared in lower case.
const OBEYED: [(&str, &[&str]); 10] = [
    (
        "direnv or mise, on entering the directory",
        &[".envrc", ".mise.toml", "mise.toml", ".mise/", ".tool-versions", ".autoenv", ".autoenv.zsh"],
    ),
    ("git", &[".gitmodules", ".gitconfig", ".lfsconfig"]),
    (
        "git hooks",
        &[
            ".githooks/",
            ".husky/",
            ".pre-commit-config.yaml",
            ".pre-commit-config.yml",
            "lefthook.yml",
            ".lefthook.yml",
            "lefthook.yaml",
            ".lefthook.yaml",
            ".overcommit.yml",
        ],
    ),
    (
        "CI systems, which have keys",
        &[
            ".github/",
            ".gitlab-ci.yml",
            ".gitlab/",
            ".circleci/",
            ".buildkite/",
            ".woodpecker/",
            ".woodpecker.yml",
            ".drone.yml",
            ".travis.yml",
            ".forgejo/",
            ".gitea/",
            "azure-pipelines.yml",
            "bitbucket-pipelines.yml",
            "jenkinsfile",
            "appveyor.yml",
            ".appveyor.yml",
            ".cirrus.yml",
        ],
    ),
    (
        "editors",
        &[
            ".vscode/",
            ".idea/",
            ".zed/",
            ".fleet/",
            ".devcontainer/",
            ".devcontainer.json",
            ".vimrc",
            ".nvimrc",
            ".exrc",
            ".nvim.lua",
            "_vimrc",
            ".dir-locals.el",
            ".sublime-project",
        ],
    ),
    (
        "coding agents",
        &[
            ".claude/",
            "claude.md",
            "claude.local.md",
            "agents.md",
            ".mcp.json",
            ".cursor/",
            ".cursorrules",
            ".windsurf/",
            ".windsurfrules",
            ".clinerules",
            ".clinerules/",
            ".codex/",
            ".gemini/",
            "gemini.md",
            ".aider.conf.yml",
            ".continue/",
            ".roo/",
            ".kiro/",
        ],
    ),
    ("atoll", &["atoll.toml"]),
    (
        "shells",
        &[
            ".bashrc",
            ".bash_profile",
            ".bash_login",
            ".bash_logout",
            ".profile",
            ".zshrc",
            ".zshenv",
            ".zprofile",
            ".zlogin",
            ".kshrc",
            ".inputrc",
            ".config/",
        ],
    ),
    (
        "programs that send keys",
        &[
            ".netrc",
            "_netrc",
            ".ssh/",
            ".gnupg/",
            ".aws/",
            ".kube/",
            ".docker/",
            ".npmrc",
            ".yarnrc",
            ".yarnrc.yml",
            ".pnpmfile.cjs",
            ".pypirc",
            ".pip/",
            ".bundle/",
            ".gem/",
            ".curlrc",
            ".wgetrc",
        ],
    ),
    (
        "build tools and debuggers",
        &[".cargo/", ".mvn/", ".gdbinit", ".lldbinit", ".bazelrc", "autorun.inf", "desktop.ini"],
    ),
];

/// What the file at `path`, which has the form of a tree's paths, is to others; `None` for a usual file.
pub fn unusual(path: &str) -> Option<Unusual> {
    if let Some(c) = path.chars().find(|c| is_invisible(*c)) {
        let shown = visible(path);
        return Some(Unusual::Refused(format!(
            "{shown} holds the invisible character U+{:04X}, which can show another name than it has",
            u32::from(c)
        )));
    }
    let lower = path.to_lowercase();
    let names: Vec<&str> = lower.split('/').collect();
    if let Some(name) = names.iter().find(|name| is_of_git(name)) {
        return Some(Unusual::Refused(format!("`{name}` belongs to git, which runs what it names")));
    }
    if names.contains(&".atoll") {
        return Some(Unusual::Refused("`.atoll` holds the runs of Atoll".to_owned()));
    }
    let (file, dirs) = names.split_last()?;
    let hit = |known: &str| match known.strip_suffix('/') {
        Some(dir) => dirs.contains(&dir),
        None => *file == known,
    };
    let obeyed = OBEYED.iter().find(|(_, all)| all.iter().any(|known| hit(known)));
    let workspace = file.ends_with(".code-workspace");
    obeyed.map(|(who, _)| Unusual::Obeyed(who)).or_else(|| workspace.then_some(Unusual::Obeyed("editors")))
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

/// Names that some system reads as `.git`.
fn is_of_git(name: &str) -> bool {
    let name = name.trim_end_matches([' ', '.']);
    name == ".git"
        || name.starts_with(".git:")
        || name.strip_prefix("git~").is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
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
