use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// `fail`: fails with a message and class from the pipeline.
pub struct Fail;

/// Input of `fail`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// Message: lower case, no full stop.
    message: String,
    /// Advice what to do next.
    hint: Option<String>,
    /// Class of the failure. Default: `permanent`.
    class: Option<String>,
}

impl With {
    fn class(&self) -> Result<Class, Failure> {
        let word = self.class.as_deref().unwrap_or("permanent");
        Class::parse(word).ok_or_else(|| {
            let words: Vec<&str> = Class::ALL.iter().map(|class| class.word()).collect();
            Failure::permanent(format!("unknown failure class `{word}`"))
                .hint(format!("classes: {}", words.join(", ")))
        })
    }
}

/// The output of `fail`: it never has one.
#[derive(Serialize, JsonSchema)]
pub struct Out {}

impl Verb for Fail {
    const NAME: &'static str = "fail";
    const SUMMARY: &'static str = "fail with a message and class from the pipeline";
    const TRAITS: Traits = Traits::PURE;
    const EXAMPLE: &'static str = r#"
[steps.stop]
when = "run.spent.calls > 100"
fail = { message = "more calls than this is worth", class = "permanent" }
"#;
    type With = With;
    type Out = Out;

    fn refusals(with: &With) -> Vec<Refusal> {
        with.class().err().map(|failure| Refusal::of("/class", failure)).into_iter().collect()
    }

    async fn run(&self, with: With, _cx: Context) -> Result<Output<Out>, Failure> {
        let class = with.class()?;
        let failure = Failure::new(class, with.message);
        Err(match with.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    }
}
