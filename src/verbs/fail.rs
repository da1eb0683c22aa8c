use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// `fail`: ends in a failure that the pipeline words and classes itself.
pub struct Fail;

/// What `fail` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// What happened: lower case, no full stop.
    message: String,
    /// What to do next.
    hint: Option<String>,
    /// The failure class, `permanent` where none is given.
    class: Option<String>,
}

impl With {
    fn class(&self) -> Result<Class, Failure> {
        let word = self.class.as_deref().unwrap_or("permanent");
        Class::parse(word).ok_or_else(|| {
            let words: Vec<&str> = Class::ALL.iter().map(|class| class.word()).collect();
            Failure::permanent(format!("`{word}` is no failure class"))
                .hint(format!("classes: {}", words.join(", ")))
        })
    }
}

/// `fail` has no output.
#[derive(Serialize, JsonSchema)]
pub struct Out {}

impl Verb for Fail {
    const NAME: &'static str = "fail";
    const SUMMARY: &'static str = "fails, with a message and class of the pipeline's own";
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
