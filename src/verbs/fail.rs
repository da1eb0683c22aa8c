use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// `fail`: fails with a message and class from the pipeline.
pub struct Fail;

/// Input of `fail`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailInput {
    /// Message: lower case, no full stop. If `error` is given, it comes before the message of that.
    #[serde(default)]
    message: Option<String>,
    /// Advice what to do next.
    #[serde(default)]
    hint: Option<String>,
    /// Class of the failure. Default: that of `error`, otherwise `permanent`.
    #[serde(default)]
    class: Option<String>,
    /// Failure of another step to pass on: `steps.NAME.error`.
    #[serde(default)]
    error: Option<PassedOn>,
}

/// A failure of another step, as expressions see it.
#[derive(Deserialize, JsonSchema)]
struct PassedOn {
    /// Message.
    message: String,
    /// Advice what to do next.
    #[serde(default)]
    hint: Option<String>,
    /// Class of the failure.
    #[serde(default)]
    class: Option<String>,
}

impl FailInput {
    fn class(&self) -> Result<Class, Failure> {
        let of_error = || self.error.as_ref().and_then(|error| error.class.as_deref());
        let word = self.class.as_deref().or_else(of_error).unwrap_or("permanent");
        Class::parse(word).ok_or_else(|| {
            let words: Vec<&str> = Class::ALL.iter().map(|class| class.word()).collect();
            Failure::permanent(format!("unknown failure class `{word}`"))
                .hint(format!("classes: {}", words.join(", ")))
        })
    }
}

/// The output of `fail`: it never has one.
#[derive(Serialize, JsonSchema)]
pub struct FailOutput {}

impl Verb for Fail {
    const NAME: &'static str = "fail";
    const SUMMARY: &'static str = "fail with a message and class from the pipeline";
    const TRAITS: Traits = Traits::PURE;
    const EXAMPLE: &'static str = r#"
[steps.stop]
when = "run.spent.calls > 100"
fail = { message = "more calls than this is worth", class = "permanent" }

[steps.build]
shell = { argv = ["make"] }

[steps.tell]
tolerates = ["build"]
when = "steps.build.failed"
fail = { message = "the program cannot be built", error = "{{ steps.build.error }}" }
"#;
    type With = FailInput;
    type Out = FailOutput;

    fn refusals(with: &FailInput) -> Vec<Refusal> {
        if with.message.is_none() && with.error.is_none() {
            let failure = Failure::permanent("`fail` has neither `message` nor `error`");
            return vec![Refusal::among(&["message", "error"], failure.hint("give one of them, or both"))];
        }
        with.class().err().map(|failure| Refusal::of("/class", failure)).into_iter().collect()
    }

    async fn run(&self, with: FailInput, _cx: Context) -> Result<Output<FailOutput>, Failure> {
        let class = with.class()?;
        let (of_error, of_hint) = with.error.map(|error| (error.message, error.hint)).unzip();
        let parts: Vec<String> = with.message.into_iter().chain(of_error).collect();
        let failure = Failure::new(class, parts.join(": "));
        Err(match with.hint.or_else(|| of_hint.flatten()) {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    }
}
