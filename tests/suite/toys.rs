//! A catalog of toy verbs: their types are what the language looks at, and none of them does anything.

use std::collections::BTreeMap;

use atoll::value::Value;
use atoll::verb::{Catalog, Context, Failure, Lease, Output, Resource, Traits, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Set;

#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(extend("x-same-as-input" = true))]
pub struct Values(BTreeMap<String, Value>);

impl Verb for Set {
    const NAME: &'static str = "set";
    const SUMMARY: &'static str = "values";
    const TRAITS: Traits = Traits::PURE;
    const EXAMPLE: &'static str = "set = { x = 1 }";
    type With = Values;
    type Out = Values;

    async fn run(&self, with: Values, _: Context) -> Result<Output<Values>, Failure> {
        Ok(Output::free(with))
    }
}

pub struct Shell;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShellWith {
    /// the program and its arguments
    #[expect(dead_code, reason = "only its schema is looked at")]
    argv: Vec<String>,
    #[expect(dead_code, reason = "only its schema is looked at")]
    shell: Option<bool>,
    #[expect(dead_code, reason = "only its schema is looked at")]
    env: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, JsonSchema)]
pub struct ShellOut {
    code: i32,
    stdout: String,
}

impl Verb for Shell {
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str = "a program";
    const TRAITS: Traits = Traits::once("process");
    const EXAMPLE: &'static str = "shell = { argv = [\"true\"] }";
    const READS_FILES: bool = true;
    type With = ShellWith;
    type Out = ShellOut;

    async fn run(&self, _: ShellWith, _: Context) -> Result<Output<ShellOut>, Failure> {
        Ok(Output::free(ShellOut { code: 0, stdout: String::new() }))
    }
}

pub struct Llm;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LlmWith {
    #[expect(dead_code, reason = "only its schema is looked at")]
    model: OneOrMany,
    /// the question
    #[expect(dead_code, reason = "only its schema is looked at")]
    prompt: String,
    #[expect(dead_code, reason = "only its schema is looked at")]
    max_tokens: Option<u32>,
    #[expect(dead_code, reason = "only its schema is looked at")]
    temperature: Option<f64>,
    #[expect(dead_code, reason = "only its schema is looked at")]
    mode: Option<Mode>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is looked at")]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// at once
    Realtime,
    /// later
    Batch,
}

#[derive(Serialize, JsonSchema)]
pub struct LlmOut {
    text: String,
}

impl Verb for Llm {
    const NAME: &'static str = "llm";
    const SUMMARY: &'static str = "a model";
    const TRAITS: Traits = Traits::paid("llm");
    const EXAMPLE: &'static str = "llm = { model = \"m\", prompt = \"hello\" }";
    type With = LlmWith;
    type Out = LlmOut;

    async fn run(&self, _: LlmWith, _: Context) -> Result<Output<LlmOut>, Failure> {
        Ok(Output::free(LlmOut { text: String::new() }))
    }
}

pub struct Service;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceWith {
    #[expect(dead_code, reason = "only its schema is looked at")]
    image: String,
    #[expect(dead_code, reason = "only its schema is looked at")]
    port: Option<u16>,
}

#[derive(Serialize, JsonSchema)]
pub struct Held {
    ok: bool,
    url: String,
}

impl Resource for Service {
    const NAME: &'static str = "service";
    const SUMMARY: &'static str = "a service";
    const TRAITS: Traits = Traits::repeatable("service");
    const EXAMPLE: &'static str = "hold = { service = { image = \"x\" } }";
    type With = ServiceWith;
    type Held = Held;

    async fn acquire(&self, _: ServiceWith, _: Context) -> Result<Box<dyn Lease>, Failure> {
        Err(Failure::permanent("a toy"))
    }
}

pub fn catalog() -> Catalog {
    Catalog::new().verb(Set).verb(Shell).verb(Llm).resource(Service)
}
