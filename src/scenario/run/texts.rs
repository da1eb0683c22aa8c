//! Access to all texts of an observation that came from the program or were sent to it, to change them.

use indexmap::IndexMap;

use super::observation::{NamedValue, Observation, Observed, SetupFailure, Skipped, StepSeen};
use crate::scenario::answer::SentRecord;
use crate::scenario::checks::Captured;
use crate::scenario::checks::assert::AssertionResult;
use crate::value::{Value, change_texts};

/// Function that returns the replacement of a text.
type ChangeText<'a> = &'a dyn Fn(&str) -> String;

impl Observation {
    /// Replaces every text that was observed, sent or filled in by `change` of it.
    pub fn change_texts(&mut self, change: ChangeText<'_>) {
        self.change(change);
    }
}

/// Something that contains texts.
trait HasTexts {
    fn change(&mut self, change: ChangeText<'_>);
}

macro_rules! texts {
    ($($kind:ident { $($field:ident)+ })+) => {
        $(impl HasTexts for $kind {
            fn change(&mut self, change: ChangeText<'_>) {
                $(self.$field.change(change);)+
            }
        })+
    };
}

// Decisions, digests and numbers are not texts: they keep their types.
texts! {
    Observation { description satisfaction_criteria named broken setup steps teardown skipped }
    SetupFailure { description reason sent observed log }
    Skipped { description why }
    StepSeen { description expect named sent observed captures assertions error log }
    SentRecord { text method url curl headers body command stdin }
    Observed { text headers url body stdout stderr parts }
    Captured { value error }
    NamedValue { value }
    AssertionResult { assert expected actual path reason }
}

impl HasTexts for String {
    fn change(&mut self, change: ChangeText<'_>) {
        *self = change(self);
    }
}

impl HasTexts for Value {
    fn change(&mut self, change: ChangeText<'_>) {
        change_texts(self, change);
    }
}

impl<T: HasTexts> HasTexts for Option<T> {
    fn change(&mut self, change: ChangeText<'_>) {
        self.iter_mut().for_each(|one| one.change(change));
    }
}

impl<T: HasTexts> HasTexts for Vec<T> {
    fn change(&mut self, change: ChangeText<'_>) {
        self.iter_mut().for_each(|one| one.change(change));
    }
}

impl<T: HasTexts> HasTexts for IndexMap<String, T> {
    fn change(&mut self, change: ChangeText<'_>) {
        for (name, mut one) in std::mem::take(self) {
            one.change(change);
            self.insert(change(&name), one);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen() -> Observation {
        let step = json!({
            "index": 0, "line": 4, "description": "KEY", "expect": "KEY", "kind": "exec",
            "sent": {
                "text": "KEY", "method": "KEY", "url": "KEY", "headers": {"KEY": "KEY"}, "body": "KEY", "command": "KEY",
                "stdin": "KEY",
            },
            "observed": {
                "text": "KEY", "status": null, "headers": {"a": "KEY"}, "url": "KEY", "body": "KEY", "exit_code": 73155,
                "stdout": "KEY", "stderr": "KEY", "timed_out": false, "length": 73155, "digest": "", "cut": false,
                "lossy": false, "parts": {"tree": [{"KEY": 73155}]},
            },
            "captures": [{"name": "n", "value": {"KEY": "KEY"}, "error": "KEY"}],
            "assertions": [
                {"assert": "KEY", "ok": false, "expected": "KEY", "actual": 73155, "path": "KEY", "reason": "KEY"},
            ],
            "decided": "failed", "error": "KEY", "attempts": 1, "duration_ms": 73155, "log": "KEY",
        });
        let broken = json!({
            "step": 0, "description": "KEY", "reason": "KEY", "sent": "KEY", "observed": "KEY", "log": "KEY",
        });
        let skipped = json!({ "list": "steps", "line": 9, "description": "KEY", "why": "KEY" });
        let whole = json!({
            "id": "a", "description": "KEY", "weight": 1.0, "tier": 1, "satisfaction_criteria": "KEY", "setup_ok": false,
            "broken": broken, "setup": [step], "steps": [step], "teardown": [step], "skipped": [skipped],
            "duration_ms": 73155,
        });
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn every_text_is_changed_and_nothing_loses_its_type() {
        let mut observation = seen();
        // Some are our own keywords, and numbers contain digits, too.
        observation.change_texts(&|text| {
            ["KEY", "failed", "73155"].iter().fold(text.to_owned(), |t, w| t.replace(w, "***"))
        });
        let told = serde_json::to_string(&observation).unwrap();
        assert!(!told.contains("KEY"), "{told}");
        assert_eq!(observation.steps[0].assertions[0].actual, json!("***"));
        let seen = observation.steps[0].observed.as_ref().unwrap();
        assert_eq!(seen.parts["tree"], json!([{"***": "***"}]));
        assert_eq!((seen.length, observation.duration_ms), (73155, 73155));
    }
}
