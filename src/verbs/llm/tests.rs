use super::*;
use crate::verb::DynVerb;

fn verb() -> Llm {
    struct None_;
    impl crate::verb::Secrets for None_ {
        fn get(&self, _: &str) -> Option<crate::verb::SecretText> {
            None
        }
        fn redact(&self, text: &str) -> String {
            text.to_owned()
        }
    }
    let registry = crate::llm::registry::Registry::embedded().unwrap();
    Llm::new(Models::new(registry, Arc::new(None_), crate::llm::Cassette::default()))
}

async fn failure(with: Value) -> Failure {
    let cx = Context::for_test(".".into(), Arc::new(crate::clock::ManualClock::default()));
    DynVerb::run(&verb(), with, cx).await.unwrap_err()
}

#[tokio::test]
async fn wrong_input_is_refused_before_anything_is_asked() {
    for (with, words) in [
        (json!({"model": "gpt-5"}), "`prompt` or `messages` is missing"),
        (json!({"model": "gpt-5", "prompt": "x", "messages": []}), "`prompt` and `messages` are both set"),
        (json!({"model": "gpt-5", "prompt": " \n"}), "the prompt is empty"),
        (json!({"model": "gpt-5", "messages": [{"role": "assistant", "content": "x"}]}), "does not end with"),
        (json!({"model": "gpt-5", "prompt": "x", "temperature": 3}), "between 0 and 2"),
        (json!({"model": "gpt-5", "prompt": "x", "samples": 3}), "but `vote` is missing"),
        (json!({"model": "gpt-5", "prompt": "x", "samples": 0}), "between 1 and 64"),
        (json!({"model": "gpt-5", "prompt": "x", "timeout": "soon"}), "not a duration: soon"),
        (json!({"model": [], "prompt": "x"}), "list of models is empty"),
        (json!({"model": "gpt-5", "prompt": "x", "temprature": 1}), "unknown field `temprature`"),
        (json!({"model": "gpt-5x", "prompt": "x"}), "unknown model `gpt-5x`"),
        (
            json!({"model": "openrouter/some/model", "prompt": "x"}),
            "the price of `openrouter/some/model` is unknown",
        ),
    ] {
        let failure = failure(with.clone()).await;
        assert_eq!(failure.class, Class::Permanent, "{with}");
        assert!(failure.message.contains(words), "{with} → {failure}");
        assert!(failure.hint.is_some(), "{with}");
        assert!(failure.spent.is_empty());
    }
}

#[tokio::test]
async fn a_missing_key_names_its_variable() {
    let failure = failure(json!({"model": "claude-haiku-4-5", "prompt": "hi"})).await;
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains("ANTHROPIC_API_KEY is not set"), "{failure}");
}

#[test]
fn the_example_is_a_step() {
    let example: toml::Table = toml::from_str(Llm::EXAMPLE).unwrap();
    let with = serde_json::to_value(&example["steps"]["verdict"]["llm"]).unwrap();
    let with: LlmInput = serde_json::from_value(with).unwrap();
    assert!(<Llm as Verb>::refusals(&with).is_empty());
}
