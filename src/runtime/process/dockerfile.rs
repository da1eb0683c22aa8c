//! The part of a Dockerfile that needs no container: its last stage.

use std::collections::HashMap;

use crate::runtime::service::{CopyInstruction, Dockerfile, Instruction, InstructionKind};

/// The part of a Dockerfile that is carried out.
#[derive(Debug)]
pub struct BuildPlan {
    /// The base image of the last stage; if that is an earlier stage, the base image of that one.
    pub base: String,
    /// The instructions of the last stage.
    pub steps: Vec<Instruction>,
}

impl BuildPlan {
    /// The last stage of `file`, or an error with the line that needs a container.
    pub fn of(file: Dockerfile) -> Result<Self, String> {
        let mut stages: HashMap<String, String> = HashMap::new();
        let mut last = Self { base: String::new(), steps: Vec::new() };
        for stage in file.stages {
            let base = stages.get(&stage.base.to_lowercase()).cloned().unwrap_or(stage.base);
            if let Some(name) = stage.name {
                stages.insert(name, base.clone());
            }
            last = Self { base, steps: stage.steps };
        }
        for step in &last.steps {
            if let Some(why) = refused(&step.order) {
                return Err(format!("line {}: {why}: {}", step.line, step.text));
            }
        }
        last.steps.splice(..0, file.args);
        Ok(last)
    }
}

fn refused(order: &InstructionKind) -> Option<&'static str> {
    match order {
        InstructionKind::Copy(CopyInstruction { from: Some(_), .. }) => {
            Some("the process runtime does not support --from")
        }
        InstructionKind::Copy(copy) if copy.sources.iter().any(|source| source.contains("://")) => {
            Some("the process runtime can copy only files of the tree")
        }
        InstructionKind::Shell(_) => Some("the process runtime does not support SHELL"),
        InstructionKind::OnBuild(_) => Some("the process runtime does not support ONBUILD"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::service::parse;

    fn plan(text: &str) -> Result<BuildPlan, String> {
        BuildPlan::of(parse(text)?)
    }

    #[test]
    fn what_needs_a_container_is_named_with_its_line() {
        let error = |text: &str| plan(text).unwrap_err();
        assert!(
            error("FROM a\n\nCOPY --from=x /a /b")
                .starts_with("line 3: the process runtime does not support --from")
        );
        assert!(error("FROM a\nADD https://x/y /z").contains("only files of the tree"));
        assert!(error("FROM a\nSHELL [\"bash\"]").contains("line 2: "));
        assert!(error("FROM a\nFLY b").contains("line 2: "));
    }

    #[test]
    fn the_last_stage_counts_with_its_own_base_image() {
        let base = |text: &str| plan(text).unwrap().base;
        assert_eq!(base("FROM node:20\nRUN x\nFROM --platform=x python:3 AS two\n"), "python:3");
        assert_eq!(base("FROM node:20 AS One\nFROM b as two\nFROM one\n"), "node:20");
        let steps =
            plan("ARG A\nFROM a AS x\nCOPY --from=y /a /b\nRUN one\nFROM b\nRUN two\n").unwrap().steps;
        let lines: Vec<usize> = steps.iter().map(|step| step.line).collect();
        assert_eq!(lines, [1, 6]);
    }
}
