use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{
    Context, CostBound, DynResource, Failure, InputDraft, Output, Refusal, Remark, Resource, Traits, Verb,
};
use crate::schema::Schema;
use crate::value::Value;

/// All verbs and resources by name, in the order in which they were added.
#[derive(Clone, Default)]
pub struct Catalog {
    verbs: IndexMap<&'static str, Arc<dyn DynVerb>>,
    resources: IndexMap<&'static str, Arc<dyn DynResource>>,
    /// Additional lanes.
    lanes: Vec<String>,
    /// Former verbs, and their replacements.
    replaced: IndexMap<&'static str, &'static str>,
    /// Checks the name of a model.
    models: Option<Arc<UnknownModel>>,
}

/// The problem with the name of a model and a hint, if there is a problem.
type UnknownModel = dyn Fn(&str) -> Option<(String, String)> + Send + Sync;

/// The meaning of a name in the catalog.
pub enum CatalogEntry<'a> {
    /// A leaf verb.
    Verb(&'a Arc<dyn DynVerb>),
    /// A resource of `hold`.
    Resource(&'a Arc<dyn DynResource>),
}

impl Catalog {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same catalog with `verb`.
    #[must_use]
    pub fn verb(mut self, verb: impl Verb) -> Self {
        let verb: Arc<dyn DynVerb> = Arc::new(verb);
        self.verbs.insert(verb.name(), verb);
        self
    }

    /// The same catalog with `resource`.
    #[must_use]
    pub fn resource(mut self, resource: impl Resource) -> Self {
        let resource: Arc<dyn DynResource> = Arc::new(resource);
        self.resources.insert(resource.name(), resource);
        self
    }

    /// The same catalog, in which `help` describes the replacement of the former verb `name`.
    #[must_use]
    pub fn replaced(mut self, name: &'static str, help: &'static str) -> Self {
        self.replaced.insert(name, help);
        self
    }

    /// The replacement of the former verb `name`, if there was one.
    pub fn replacement(&self, name: &str) -> Option<&'static str> {
        self.replaced.get(name).copied()
    }

    /// The verb named `name`.
    pub fn find_verb(&self, name: &str) -> Option<&Arc<dyn DynVerb>> {
        self.verbs.get(name)
    }

    /// The resource named `name`.
    pub fn find_resource(&self, name: &str) -> Option<&Arc<dyn DynResource>> {
        self.resources.get(name)
    }

    /// All verbs.
    pub fn verbs(&self) -> impl Iterator<Item = &Arc<dyn DynVerb>> {
        self.verbs.values()
    }

    /// The same catalog with additional `lanes`.
    #[must_use]
    pub fn with_lanes(mut self, lanes: impl IntoIterator<Item = String>) -> Self {
        self.lanes.extend(lanes);
        self
    }

    /// The same catalog, in which `unknown` checks names of models.
    #[must_use]
    pub fn with_models(
        self,
        unknown: impl Fn(&str) -> Option<(String, String)> + Send + Sync + 'static,
    ) -> Self {
        Self { models: Some(Arc::new(unknown)), ..self }
    }

    /// The problem with the name of a model, and a hint. `None` if it is known, or every name is allowed.
    pub fn unknown_model(&self, name: &str) -> Option<(String, String)> {
        self.models.as_ref()?(name)
    }

    /// The names of all lanes, including additional ones.
    pub fn lane_names(&self) -> impl Iterator<Item = &str> {
        let verbs = self.verbs.values().flat_map(|verb| {
            std::iter::once(verb.traits().lane).chain(verb.lanes().iter().map(|(name, _)| *name))
        });
        let resources = self.resources.values().map(|resource| resource.traits().lane);
        verbs.chain(resources).chain(["default"]).chain(self.lanes.iter().map(String::as_str))
    }

    /// The default limits of parallel attempts in the lanes of verbs.
    pub fn lanes(&self) -> IndexMap<String, usize> {
        let lanes = self.verbs.values().flat_map(|verb| verb.lanes());
        std::iter::once(&super::PURE_LANE)
            .chain(lanes)
            .map(|(name, width)| ((*name).to_owned(), *width))
            .collect()
    }

    /// All resources.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<dyn DynResource>> {
        self.resources.values()
    }
}

/// The future of an erased call.
pub type VerbFuture<'a> = Pin<Box<dyn Future<Output = Result<Output<Value>, Failure>> + Send + 'a>>;

/// A [`Verb`] with its types erased.
pub trait DynVerb: Send + Sync + 'static {
    /// See [`Verb::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Verb::SUMMARY`].
    fn summary(&self) -> &'static str;
    /// See [`Verb::TRAITS`].
    fn traits(&self) -> Traits;
    /// See [`Verb::EXAMPLE`].
    fn example(&self) -> &'static str;
    /// See [`Verb::LANES`].
    fn lanes(&self) -> &'static [(&'static str, usize)];
    /// See [`Verb::EXTRA_FIELDS`].
    fn extra_fields(&self) -> &'static [&'static str];
    /// See [`Verb::OUTPUT_KEYS`].
    fn output_keys(&self) -> &'static [&'static str];
    /// See [`Verb::KEYS_AT_START`].
    fn keys_at_start(&self) -> &'static [&'static str];
    /// See [`Verb::RETRY_PROMPT`].
    fn retry_prompt(&self) -> Option<&'static str>;
    /// See [`Verb::READS_FILES`].
    fn reads_files(&self) -> bool;
    /// See [`Verb::lane`].
    fn lane(&self, with: &Value) -> &'static str;
    /// The trait as a function.
    fn lane_of(&self) -> fn(&Value) -> &'static str;
    /// JSON Schema of its input.
    fn with_schema(&self) -> Value;
    /// JSON Schema of its output.
    fn out_schema(&self) -> Value;
    /// See [`Verb::bound`].
    fn bound(&self, with: &Value, schema: Option<&Schema>) -> Option<CostBound>;
    /// See [`Verb::depends_on`].
    fn depends_on(&self, with: &Value) -> Option<String>;
    /// See [`Verb::remarks`].
    fn remarks(&self, with: &Value) -> Vec<Remark>;
    /// See [`Verb::refusals`]: the refusals of an input with unrendered templates that are certain.
    fn refusals(&self, draft: &InputDraft) -> Vec<Refusal>;
    /// Reads `with` and runs.
    fn run(&self, with: Value, cx: Context) -> VerbFuture<'_>;
}

impl<V: Verb> DynVerb for V {
    fn name(&self) -> &'static str {
        V::NAME
    }

    fn summary(&self) -> &'static str {
        V::SUMMARY
    }

    fn traits(&self) -> Traits {
        V::TRAITS
    }

    fn example(&self) -> &'static str {
        V::EXAMPLE
    }

    fn lanes(&self) -> &'static [(&'static str, usize)] {
        V::LANES
    }

    fn extra_fields(&self) -> &'static [&'static str] {
        V::EXTRA_FIELDS
    }

    fn output_keys(&self) -> &'static [&'static str] {
        V::OUTPUT_KEYS
    }

    fn keys_at_start(&self) -> &'static [&'static str] {
        V::KEYS_AT_START
    }

    fn retry_prompt(&self) -> Option<&'static str> {
        V::RETRY_PROMPT
    }

    fn reads_files(&self) -> bool {
        V::READS_FILES
    }

    fn lane(&self, with: &Value) -> &'static str {
        V::lane(with)
    }

    fn lane_of(&self) -> fn(&Value) -> &'static str {
        V::lane
    }

    fn with_schema(&self) -> Value {
        schemars::schema_for!(V::With).to_value()
    }

    fn out_schema(&self) -> Value {
        schemars::schema_for!(V::Out).to_value()
    }

    fn bound(&self, with: &Value, schema: Option<&Schema>) -> Option<CostBound> {
        Verb::bound(self, with, schema)
    }

    fn depends_on(&self, with: &Value) -> Option<String> {
        Verb::depends_on(self, with)
    }

    fn remarks(&self, with: &Value) -> Vec<Remark> {
        Verb::remarks(self, with)
    }

    fn refusals(&self, draft: &InputDraft) -> Vec<Refusal> {
        super::draft::refusals(V::NAME, draft, V::refusals)
    }

    fn run(&self, with: Value, cx: Context) -> VerbFuture<'_> {
        Box::pin(async move {
            let with = checked_input(V::NAME, &with, V::refusals)?;
            let output = Verb::run(self, with, cx).await?;
            let value = serde_json::to_value(output.value).map_err(|e| {
                Failure::new(super::Class::Bug, format!("the output of `{}` is not JSON: {e}", V::NAME))
            })?;
            Ok(Output { value, spent: output.spent })
        })
    }
}

/// Parses a rendered input, or returns which key is wrong.
pub(super) fn read<T: DeserializeOwned + JsonSchema>(name: &str, with: &Value) -> Result<T, Failure> {
    T::deserialize(with).map_err(|error| unreadable::<T>(name, with, &error))
}

/// The failure of an input that cannot be read because of `error`.
pub(super) fn unreadable<T: JsonSchema>(name: &str, with: &Value, error: &serde_json::Error) -> Failure {
    let error = error.to_string();
    // If a key has several forms, only the schema identifies the wrong key.
    let vague = error.starts_with("data did not match any variant");
    let complaint = vague.then(|| violation::<T>(with)).flatten().unwrap_or(error);
    Failure::permanent(format!("`{name}` cannot use its input: {complaint}"))
        .hint(format!("`atoll explain verb {name}` lists its keys"))
}

/// The input of an attempt, or the failure that ends it before it starts.
pub(super) fn checked_input<T: DeserializeOwned + JsonSchema>(
    name: &str,
    with: &Value,
    refuse: impl FnOnce(&T) -> Vec<Refusal>,
) -> Result<T, Failure> {
    let with = read(name, with)?;
    match refuse(&with).into_iter().next() {
        Some(refusal) => Err(refusal.failure),
        None => Ok(with),
    }
}

/// The violation of the schema of `T` in `with`, with its location.
fn violation<T: JsonSchema>(with: &Value) -> Option<String> {
    let schema = Schema::compile("with", schemars::schema_for!(T).to_value()).ok()?;
    schema.violations(with).first().map(ToString::to_string)
}
