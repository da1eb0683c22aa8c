//! Registration of the step type `tui`.

use futures_util::future::BoxFuture;

use super::play::TuiRunner;
use super::{KEYS, Tui, read};
use crate::diag::Code;
use crate::scenario::answer::StepAnswer;
use crate::scenario::checks::assert::{AssertionForm, Subject};
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::steps::{Action, Played, StepAction, StepContext, StepType};

/// `tui`: a program in a terminal.
pub static TYPE: StepType = StepType {
    word: "tui",
    keys: KEYS,
    subjects: &[
        (Subject::Screen, AssertionForm::Text),
        (Subject::ExitCode, AssertionForm::Codes),
        (Subject::Json, AssertionForm::Json),
        (Subject::Duration, AssertionForm::Duration),
    ],
    sources: &["screen", "exit_code", "exitcode", "title"],
    runs_commands: true,
    vacuous_words: ["an empty screen", "an empty screen"],
    read: |reader, node, _| read::read(reader, node).map(Action::Tui),
    implied: read::assertions,
    lint,
    ..StepType::PLAIN
};

impl StepAction for Tui {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        let StepContext { stage, connections, variables, left } = context;
        Box::pin(connections.runner::<TuiRunner>().play(self, stage, variables, left))
    }

    fn vacuous(&self) -> [Option<StepAnswer>; 2] {
        // This program never shows anything.
        let waits = matches!(&self.wait_for, Some(wait) if !wait.is_for_absence());
        [127, 0].map(|code| {
            let parts = vec![("screen", "".into()), ("exit_code", code.into()), ("title", "".into())];
            (!waits).then(|| StepAnswer::structured(("screen", ""), parts))
        })
    }
}

fn lint(linter: &mut Linter<'_>, node: &YamlNode) {
    if !linter.is_mapping(Code::LintTui, node, "tui") {
        return;
    }
    let NodeKind::Table(entries) = &node.kind else { return };
    if entries.iter().all(|(key, _)| key.text() == Some("timeout")) {
        linter.say(Code::LintTuiNothing, node, "this `tui` has no action");
    }
    if node.get("command").is_some() {
        linter.needs(Code::LintTuiCommand, node, "`tui`", "command");
    }
    linter.duration(Code::LintTuiTimeout, node, "timeout");
}
