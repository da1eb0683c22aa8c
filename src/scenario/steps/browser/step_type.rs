//! Registration of the step type `browser`.

use std::future::ready;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use serde_json::json;

use super::actor::Actor;
use super::{Browser, BrowserAction, Hosts, WaitGoal, read};
use crate::diag::Code;
use crate::scenario::answer::{Evidence, StepAnswer, StepOutcome};
use crate::scenario::checks::assert::{AssertionForm, Subject};
use crate::scenario::reader::linter::{Linter, written};
use crate::scenario::reader::yaml::YamlNode;
use crate::scenario::steps::{
    Action, ConnectionSettings, Connections, Played, StepAction, StepContext, StepRunner, StepType,
    TestEnvironment,
};
use crate::scenario::values::credentials::CredentialPart;
use crate::value::Value;

/// `browser`: an action in Chromium.
pub static TYPE: StepType = StepType {
    word: "browser",
    keys: read::KEYS,
    subjects: &[
        (Subject::Text, AssertionForm::Text),
        (Subject::Html, AssertionForm::Text),
        (Subject::Url, AssertionForm::Text),
        (Subject::Title, AssertionForm::Text),
        (Subject::Value, AssertionForm::Text),
        (Subject::Visible, AssertionForm::Flag),
        (Subject::Tree, AssertionForm::Text),
        (Subject::Console, AssertionForm::Text),
        (Subject::Dialogs, AssertionForm::Text),
        (Subject::Count, AssertionForm::Count),
        (Subject::Json, AssertionForm::Json),
        (Subject::Duration, AssertionForm::Duration),
    ],
    sources: &[
        "text", "html", "count", "location", "url", "title", "value", "visible", "tree", "console", "dialogs",
    ],
    vacuous_words: ["an empty page", "an empty page"],
    read: |reader, node, _| read::read(reader, node).map(Action::Browser),
    implied: read::implied,
    lint,
    ..StepType::PLAIN
};

impl StepAction for Browser {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        let StepContext { stage, connections, variables, left } = context;
        Box::pin(self.actor(connections).play(self, stage, variables, left))
    }

    fn vacuous(&self) -> [Option<StepAnswer>; 2] {
        [page(self), page(self)]
    }

    fn needs_target(&self) -> bool {
        true
    }

    fn each_credential(&mut self, see: &mut dyn FnMut(CredentialPart<'_>)) {
        if let BrowserAction::Navigate { url } = &mut self.action {
            see(CredentialPart::url(url));
        }
    }

    fn look_again<'a>(&'a self, connections: &'a mut Connections) -> BoxFuture<'a, Option<StepOutcome>> {
        Box::pin(self.actor(connections).look_again())
    }

    fn evidence<'a>(
        &'a self,
        stage: &'a TestEnvironment<'a>,
        connections: &'a mut Connections,
        is_needed: bool,
    ) -> BoxFuture<'a, Vec<Evidence>> {
        Box::pin(async move {
            if !is_needed && self.action != (BrowserAction::Screenshot {}) {
                return Vec::new();
            }
            self.actor(connections).picture(stage).await.into_iter().collect()
        })
    }
}

impl Browser {
    fn actor<'a>(&self, connections: &'a mut Connections) -> &'a mut Actor {
        connections.runner::<BrowserRunner>().actor(&self.actor)
    }
}

/// The actors of the `browser` steps of one scenario.
struct BrowserRunner {
    hosts: Hosts,
    /// True if pages accept any certificate.
    trusts: bool,
    actors: IndexMap<String, Actor>,
}

impl BrowserRunner {
    fn actor(&mut self, name: &str) -> &mut Actor {
        let (hosts, trusts) = (&self.hosts, self.trusts);
        self.actors.entry(name.to_owned()).or_insert_with(|| Actor::new(hosts.clone(), trusts))
    }
}

impl StepRunner for BrowserRunner {
    fn new(settings: &ConnectionSettings) -> Self {
        let trusts = !settings.trust.is_empty() || settings.tls.is_for_pages();
        Self { hosts: settings.hosts.clone(), trusts, actors: IndexMap::new() }
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.actors.into_values().for_each(Actor::end);
        Box::pin(ready(()))
    }
}

/// The answer of an empty page, on which no action is possible.
fn page(browser: &Browser) -> Option<StepAnswer> {
    let seen = match &browser.action {
        BrowserAction::Navigate { .. }
        | BrowserAction::Screenshot {}
        | BrowserAction::Press { selector: None, .. } => json!(""),
        BrowserAction::Assert { .. } => Value::Null,
        BrowserAction::Wait(WaitGoal { selector, hidden, count, text: None, url: None, .. })
            if *count == Some(0) || count.is_none() && (*hidden || selector.is_none()) =>
        {
            json!("")
        }
        _ => return None,
    };
    let count = browser.action.selector().map(|_| 0);
    let mut parts: Vec<(&str, Value)> = vec![("text", seen.clone()), ("html", seen), ("count", json!(count))];
    parts.extend(["title", "tree", "console", "dialogs"].map(|word| (word, Value::from(""))));
    parts.push(("visible", json!(count.map(|_| false))));
    Some(StepAnswer::structured(("text", ""), parts))
}

fn lint(linter: &mut Linter<'_>, node: &YamlNode) {
    if !linter.is_mapping(Code::LintBrowser, node, "browser") {
        return;
    }
    let Some(action) = written(node, "action") else {
        return linter.needs(Code::LintBrowserMissing, node, "`browser`", "action");
    };
    match action.as_str() {
        "navigate" => linter.needs(Code::LintNavigate, node, "`navigate`", "url"),
        "click" => linter.needs(Code::LintClick, node, "`click`", "selector"),
        "fill" => {
            linter.needs(Code::LintFill, node, "`fill`", "selector");
            if node.get("value").is_none() {
                linter.say(Code::LintFillValue, node, "`value` is missing: `fill` needs it");
            }
        }
        "assert" => {
            linter.needs(Code::LintAssert, node, "`assert`", "selector");
            if ["text", "text_absent", "count"].into_iter().all(|key| node.get(key).is_none()) {
                let message =
                    "this `assert` asserts nothing: it has none of `text`, `text_absent` and `count`";
                linter.say(Code::LintAssertWhat, node, message);
            }
        }
        other if read::actions().contains(&other) => {}
        other => {
            let at = node.get("action").unwrap_or(node);
            let message = format!("the browser has no action `{other}`");
            linter.unknown(Code::LintBrowserAction, at, message, other, &read::actions());
        }
    }
    linter.duration(Code::LintBrowserTimeout, node, "timeout");
}
