use super::*;

fn embedded() -> Registry {
    Registry::embedded().unwrap()
}

#[test]
fn cached_tokens_are_priced_apart_and_the_sum_is_exact() {
    let model = embedded().find("claude-sonnet-4-6").unwrap();
    let usage = TokenUsage {
        tokens_in: 1_000_000,
        tokens_out: 100_000,
        cache_read: 600_000,
        cache_write: 200_000,
        estimated: false,
    };
    let meter = model.meter(&usage);
    // 0.2 M at 3 $, 0.6 M at 0.30 $, 0.2 M at 3.75 $, 0.1 M written at 15 $
    assert_eq!(
        serde_json::to_value(&meter).unwrap(),
        serde_json::json!({"calls": 1, "tokens_cached": 600_000, "tokens_in": 1_000_000, "tokens_out": 100_000, "usd": 3.03})
    );
    let openai = embedded().find("openai/gpt-4.1-mini").unwrap();
    let usage = TokenUsage { tokens_in: 3000, tokens_out: 500, cache_read: 1000, ..TokenUsage::default() };
    assert_eq!(
        openai.meter(&usage),
        openai
            .meter(&TokenUsage::default())
            .with("tokens_in", 3000.0)
            .with("tokens_out", 500.0)
            .with("tokens_cached", 1000.0)
            .with("usd", 0.0017)
    );
}

#[test]
fn a_model_has_one_full_name_however_it_is_written() {
    let registry = embedded();
    assert_eq!(registry.find("gpt-5").unwrap().full_name(), "openai/gpt-5");
    assert_eq!(registry.find("openai/gpt-5").unwrap().full_name(), "openai/gpt-5");
    assert!(!registry.find("openai/gpt-5").unwrap().features.temperature);
    let unlisted = registry.find("openrouter/meta-llama/llama-3.1-70b").unwrap();
    assert_eq!((unlisted.id.as_str(), unlisted.price), ("meta-llama/llama-3.1-70b", None));
    let local = registry.find("local/anything").unwrap();
    let used = local.meter(&TokenUsage { tokens_in: 5, ..TokenUsage::default() });
    assert!(used.iter().any(|(unit, sum)| unit == "usd" && sum <= 0.0), "free, but counted");
}

#[test]
fn unknown_names_get_the_nearest() {
    let error = embedded().find("claude-sonet-4-6").unwrap_err();
    assert_eq!(error.message, "unknown model `claude-sonet-4-6`");
    assert!(error.hint.unwrap().starts_with("did you mean `claude-sonnet-4-6`?"));
    let error = embedded().find("antropic/claude").unwrap_err();
    assert!(error.message.contains("unknown provider `antropic`"));
    assert!(error.hint.unwrap().starts_with("did you mean `anthropic`?"));
}

#[test]
fn a_user_extends_and_overrides_key_by_key() {
    let text = r#"
        [limits]
        usd = 3
        [providers.acme]
        kind = "openai"
        base_url = "http://acme.test/v1/"
        key_env = "ACME_KEY"
        [models."acme/big"]
        price = { input = 1, output = 2 }
        [models."gpt-5"]
        price = { input = 9, output = 9 }
    "#;
    let registry = Registry::extended("atoll.toml", text).unwrap();
    let big = registry.find("acme/big").unwrap();
    assert_eq!((big.id.as_str(), big.provider.base_url.as_str()), ("big", "http://acme.test/v1"));
    let gpt = registry.find("gpt-5").unwrap();
    assert_eq!((gpt.price.unwrap().input, gpt.max_output), (9.0, Some(128_000)));
    assert!(registry.key_names().contains(&"ACME_KEY".to_owned()));
}

#[test]
fn mistakes_in_an_extension_say_where() {
    let error = Registry::extended("atoll.toml", "[models.\"x/y\"]\nprise = 1\n").unwrap_err();
    assert!(error.message.starts_with("atoll.toml: TOML parse error at line 2"), "{error}");
    assert!(error.message.contains("prise"), "{error}");
    let error = Registry::extended("atoll.toml", "[providers.acme]\nkind = \"openai\"").unwrap_err();
    assert_eq!(error.message, "`base_url` is missing in [providers.acme]");
    let error = Registry::extended("atoll.toml", "[models.mine]\ncontext = 5").unwrap_err();
    assert_eq!(error.message, "`provider` is missing in [models.\"mine\"]");
    let error = Registry::extended("atoll.toml", "[models.\"acmee/x\"]\ncontext = 5").unwrap_err();
    assert!(error.message.contains("unknown provider `acmee`"), "{error}");
}

#[test]
fn base_urls_follow_the_environment() {
    let env = |name: &str| match name {
        "ATOLL_OPENAI_BASE_URL" => Some("http://a.test/v1/".to_owned()),
        "OPENAI_BASE_URL" => Some("http://b.test/v1".to_owned()),
        "ANTHROPIC_BASE_URL" => Some("http://c.test".to_owned()),
        _ => None,
    };
    let registry = embedded().with_base_urls(env);
    assert_eq!(registry.find("gpt-5").unwrap().provider.base_url, "http://a.test/v1");
    assert_eq!(registry.find("openai/new").unwrap().provider.base_url, "http://a.test/v1");
    assert_eq!(registry.find("claude-haiku-4-5").unwrap().provider.base_url, "http://c.test");
    assert_eq!(registry.find("local/x").unwrap().provider.base_url, "http://127.0.0.1:8089/v1");
}

#[test]
fn every_listed_model_is_priced() {
    for (name, model) in embedded().models() {
        let price = model.price.unwrap_or_else(|| panic!("{name} has no price"));
        assert!(price.input > 0.0 && price.output >= price.input, "{name}");
        assert!(price.cache_read.unwrap() < price.input, "{name}");
        assert!(model.default_output <= model.max_output.unwrap(), "{name}");
    }
}

#[test]
fn batches_cost_their_share_where_there_are_any() {
    let model = embedded().find("claude-sonnet-4-6").unwrap();
    let usage = TokenUsage {
        tokens_in: 1_000_000,
        tokens_out: 100_000,
        cache_read: 600_000,
        ..TokenUsage::default()
    };
    let half = model.in_batch().unwrap().meter(&usage).get("usd");
    assert!((half * 2.0 - model.meter(&usage).get("usd")).abs() < 1e-9, "{half}");
    for name in ["gpt-5", "openai-responses/gpt-5", "gemini-2.5-flash"] {
        assert!(embedded().find(name).unwrap().in_batch().is_ok(), "{name}");
    }
    let error = embedded().find("openrouter/x/y").unwrap().in_batch().unwrap_err();
    assert_eq!(error.message, "`openrouter/x/y` cannot be used in batches: openrouter does not support them");
}

#[test]
fn how_a_provider_takes_batches_can_be_said() {
    let of = |batch: &str| {
        let text =
            format!("[providers.x]\nkind = \"openai\"\nbase_url = \"http://x.test/v1\"\nbatch = {batch}");
        Registry::extended("atoll.toml", &text).map(|registry| registry.provider("x").unwrap().batch)
    };
    assert_eq!(of("false").unwrap(), None);
    let usual = of("true").unwrap().unwrap();
    assert_eq!((usual.gather.as_millis(), usual.requests), (500, 50_000));
    let said = of("{ gather = \"2s\", poll = [\"30s\", \"5m\"], requests = 7 }").unwrap().unwrap();
    assert_eq!(
        (said.gather.as_secs(), said.poll.0.as_secs(), said.poll.1.as_secs(), said.requests, said.bytes),
        (2, 30, 300, 7, usual.bytes)
    );
    let error = of("{ gather = \"soon\" }").unwrap_err();
    assert_eq!(error.message, "[providers.x]: `batch` is not a duration: soon");
    assert!(of("{ pole = 5 }").is_err());
    let error = Registry::extended("atoll.toml", "[providers.ollama]\nbatch = true").unwrap_err();
    assert_eq!(error.message, "[providers.ollama]: ollama does not support batches");
}
