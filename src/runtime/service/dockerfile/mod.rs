//! Parser for Dockerfiles, for both runtimes. Each runtime refuses the instructions that it does not support.
//! Start with [`parse`]; `words` splits and expands text, `healthcheck` reads one instruction.

mod healthcheck;
mod words;

#[cfg(test)]
mod tests;

use serde_json::from_str;

pub use healthcheck::Healthcheck;
pub use words::expand;

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// `ARG` before the first `FROM`.
    pub args: Vec<Instruction>,
    /// One or more stages.
    pub stages: Vec<BuildStage>,
    /// The escape character.
    pub escape: char,
}

/// A stage, which begins with `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildStage {
    /// The line of its `FROM`, from 1.
    pub line: usize,
    /// The text of its `FROM`.
    pub text: String,
    /// Base image or stage, with unexpanded variables.
    pub base: String,
    /// `--platform`, with unexpanded variables.
    pub platform: Option<String>,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// Instructions.
    pub steps: Vec<Instruction>,
}

/// An instruction with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The line, from 1.
    pub line: usize,
    /// The text, continued lines joined.
    pub text: String,
    /// The parsed instruction.
    pub order: InstructionKind,
}

/// An instruction. Quotes and variables are kept as written, for [`expand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstructionKind {
    /// `WORKDIR`
    Workdir(String),
    /// `COPY` and `ADD`
    Copy(CopyInstruction),
    /// `ENV`
    Env(Vec<(String, String)>),
    /// `LABEL`
    Label(Vec<(String, String)>),
    /// `ARG`: names with optional values.
    Arg(Vec<(String, Option<String>)>),
    /// `RUN`
    Run(CommandForm),
    /// `CMD`
    Cmd(CommandForm),
    /// `ENTRYPOINT`
    Entrypoint(CommandForm),
    /// `SHELL`
    Shell(Vec<String>),
    /// `USER`
    User(String),
    /// `EXPOSE`
    Expose(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `ONBUILD`: an instruction for images that are built from this one.
    OnBuild(String),
    /// `MAINTAINER`
    Maintainer,
}

/// `COPY`, or `ADD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyInstruction {
    /// Whether it is `ADD`, which unpacks archives.
    pub adds: bool,
    /// `--from`
    pub from: Option<String>,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// One or more sources.
    pub sources: Vec<String>,
    /// The target.
    pub to: String,
}

/// A command in either form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandForm {
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

impl CommandForm {
    fn read(rest: &str) -> Self {
        from_str(rest).map_or_else(|_| Self::Shell(rest.to_owned()), Self::Exec)
    }

    /// The command as a program and its arguments; `shell` runs a command line.
    #[must_use]
    pub fn argv(&self, shell: &[String]) -> Vec<String> {
        match self {
            Self::Exec(argv) => argv.clone(),
            Self::Shell(line) => shell.iter().chain([line]).cloned().collect(),
        }
    }
}

/// Parses a Dockerfile. The error has the line number.
pub fn parse(text: &str) -> Result<Dockerfile, String> {
    let escape = words::escape(text);
    let mut file = Dockerfile { args: Vec::new(), stages: Vec::new(), escape };
    for (line, text) in words::logical_lines(text, escape) {
        let wrong = |why: String| format!("line {line}: {why}: {text}");
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        if word.eq_ignore_ascii_case("FROM") {
            let stage = stage(line, &text, rest.trim()).map_err(wrong)?;
            file.stages.push(stage);
            continue;
        }
        let order = order(word, rest.trim(), escape).map_err(wrong)?;
        let is_arg = matches!(order, InstructionKind::Arg(_));
        let into = match file.stages.last_mut() {
            Some(stage) => &mut stage.steps,
            None if is_arg => &mut file.args,
            None => return Err(wrong("a Dockerfile begins with FROM".to_owned())),
        };
        into.push(Instruction { line, text, order });
    }
    if file.stages.is_empty() { Err("the Dockerfile has no FROM".to_owned()) } else { Ok(file) }
}

/// One instruction of an image's `ONBUILD`.
pub fn parse_trigger(text: &str) -> Result<Instruction, String> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let order = order(word, rest.trim(), '\\').map_err(|why| format!("ONBUILD of the base image: {why}"))?;
    Ok(Instruction { line: 0, text: format!("ONBUILD {text}"), order })
}

fn stage(line: usize, text: &str, rest: &str) -> Result<BuildStage, String> {
    let (options, rest) = options(rest);
    let mut platform = None;
    for (name, value) in options {
        match name {
            "platform" => platform = Some(value.to_owned()),
            other => return Err(format!("FROM has no option --{other}")),
        }
    }
    let (base, name) = match *rest.split_whitespace().collect::<Vec<_>>() {
        [base] => (base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => (base, Some(name.to_lowercase())),
        _ => return Err("FROM requires an image, optionally followed by `AS` and a name".to_owned()),
    };
    let (base, text) = (base.to_owned(), text.to_owned());
    Ok(BuildStage { line, text, base, platform, name, steps: Vec::new() })
}

fn order(word: &str, rest: &str, escape: char) -> Result<InstructionKind, String> {
    let word = word.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{word} needs an argument"));
    }
    Ok(match word.as_str() {
        "WORKDIR" => InstructionKind::Workdir(rest.to_owned()),
        "COPY" | "ADD" => InstructionKind::Copy(copy(rest, word == "ADD")?),
        "ENV" => InstructionKind::Env(words::pairs(rest, escape)?),
        "LABEL" => InstructionKind::Label(words::pairs(rest, escape)?),
        "ARG" => InstructionKind::Arg(args(rest, escape)),
        "RUN" => InstructionKind::Run(run(rest)?),
        "CMD" => InstructionKind::Cmd(CommandForm::read(rest)),
        "ENTRYPOINT" => InstructionKind::Entrypoint(CommandForm::read(rest)),
        "SHELL" => match from_str::<Vec<String>>(rest) {
            Ok(shell) if !shell.is_empty() => InstructionKind::Shell(shell),
            _ => return Err("SHELL requires a JSON list such as [\"/bin/bash\", \"-c\"]".to_owned()),
        },
        "USER" => InstructionKind::User(rest.to_owned()),
        "EXPOSE" => InstructionKind::Expose(rest.to_owned()),
        "VOLUME" => InstructionKind::Volume(list(rest)),
        "STOPSIGNAL" => InstructionKind::StopSignal(rest.to_owned()),
        "HEALTHCHECK" => InstructionKind::Healthcheck(Healthcheck::read(rest)?),
        "ONBUILD" => onbuild(rest, escape)?,
        "MAINTAINER" => InstructionKind::Maintainer,
        other => return Err(format!("unknown instruction {other}")),
    })
}

fn args(rest: &str, escape: char) -> Vec<(String, Option<String>)> {
    let read = |word: String| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word, None),
    };
    words::words(rest, escape).into_iter().map(read).collect()
}

fn onbuild(rest: &str, escape: char) -> Result<InstructionKind, String> {
    let (word, inner) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if ["FROM", "ONBUILD", "MAINTAINER"].iter().any(|no| word.eq_ignore_ascii_case(no)) {
        return Err(format!("{word} cannot be used in ONBUILD"));
    }
    order(word, inner.trim(), escape).map(|_| InstructionKind::OnBuild(rest.to_owned()))
}

fn run(rest: &str) -> Result<CommandForm, String> {
    if rest.starts_with("--") {
        return Err("options of RUN (--mount, --network, --security) are not supported".to_owned());
    }
    if rest.starts_with("<<") {
        return Err(format!("{HERE_DOCUMENTS}; join the commands with `&&`"));
    }
    Ok(CommandForm::read(rest))
}

const HERE_DOCUMENTS: &str = "here-documents are not supported";

fn copy(rest: &str, adds: bool) -> Result<CopyInstruction, String> {
    let word = if adds { "ADD" } else { "COPY" };
    let (options, rest) = options(rest);
    let mut copy = CopyInstruction { adds, ..CopyInstruction::default() };
    for (name, value) in options {
        let value = Some(value.to_owned());
        match name {
            "from" if !adds => copy.from = value,
            "chown" => copy.chown = value,
            "chmod" => copy.chmod = value,
            "link" => {}
            other => return Err(format!("{word} has no option --{other} here")),
        }
    }
    copy.sources = list(rest);
    if copy.sources.iter().any(|source| source.starts_with("<<")) {
        return Err(format!("{HERE_DOCUMENTS}; copy a file"));
    }
    copy.to = copy.sources.pop().unwrap_or_default();
    if copy.sources.is_empty() {
        return Err(format!("{word} needs a source and a target"));
    }
    Ok(copy)
}

/// Parses a JSON list, or words.
fn list(rest: &str) -> Vec<String> {
    from_str(rest).unwrap_or_else(|_| rest.split_whitespace().map(ToOwned::to_owned).collect())
}

/// The leading options `--NAME=VALUE`, and the rest.
fn options(rest: &str) -> (Vec<(&str, &str)>, &str) {
    let (mut found, mut rest) = (Vec::new(), rest);
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        found.push(option.split_once('=').unwrap_or((option, "")));
        rest = after.trim_start();
    }
    (found, rest)
}
