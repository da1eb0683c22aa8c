use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Context, Failure, InputDraft, Refusal, Traits};
use crate::value::Value;

/// A resource that `hold` acquires, passes to its body as `held`, and always releases afterwards.
pub trait Resource: Send + Sync + 'static {
    /// The key of the resource inside `hold`.
    const NAME: &'static str;
    /// A summary, in one line.
    const SUMMARY: &'static str;
    /// The lane for acquiring it.
    const TRAITS: Traits;
    /// An example step in TOML.
    const EXAMPLE: &'static str;
    /// The rendered input.
    type With: DeserializeOwned + JsonSchema + Send + 'static;
    /// The value of `held` in the body.
    type Held: serde::Serialize + JsonSchema + Send + 'static;

    /// The reasons why it cannot be acquired with this input. They depend only on the input: see
    /// [`Verb::refusals`](super::Verb::refusals).
    fn refusals(_with: &Self::With) -> Vec<Refusal> {
        Vec::new()
    }

    /// Acquires it. If the product fails (a service that does not start), the result is a lease whose `held`
    /// has `ok = false`; only other problems are a [`Failure`].
    fn acquire(
        &self,
        with: Self::With,
        cx: Context,
    ) -> impl Future<Output = Result<Box<dyn Lease>, Failure>> + Send;

    /// Releases what is kept between holds. Called when a run ends, for whatever reason.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A held resource.
pub trait Lease: Send + 'static {
    /// The value of `held` in the body, serialized from [`Resource::Held`].
    fn held(&self) -> Value;
    /// Releases the resource and returns the final value of `held` (log, exit code).
    fn release(self: Box<Self>) -> Pin<Box<dyn Future<Output = Value> + Send>>;
}

/// The future of an erased call.
pub type AcquireFuture<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Lease>, Failure>> + Send + 'a>>;

/// A [`Resource`] with its types erased.
pub trait DynResource: Send + Sync + 'static {
    /// See [`Resource::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Resource::SUMMARY`].
    fn summary(&self) -> &'static str;
    /// See [`Resource::TRAITS`].
    fn traits(&self) -> Traits;
    /// See [`Resource::EXAMPLE`].
    fn example(&self) -> &'static str;
    /// JSON Schema of its input.
    fn with_schema(&self) -> Value;
    /// JSON Schema of `held`.
    fn held_schema(&self) -> Value;
    /// See [`Resource::refusals`]: the refusals of an input with unrendered templates that are certain.
    fn refusals(&self, draft: &InputDraft) -> Vec<Refusal>;
    /// Parses `with` and acquires.
    fn acquire(&self, with: Value, cx: Context) -> AcquireFuture<'_>;
    /// See [`Resource::settle`].
    fn settle(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<R: Resource> DynResource for R {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn summary(&self) -> &'static str {
        R::SUMMARY
    }

    fn traits(&self) -> Traits {
        R::TRAITS
    }

    fn example(&self) -> &'static str {
        R::EXAMPLE
    }

    fn with_schema(&self) -> Value {
        schemars::schema_for!(R::With).to_value()
    }

    fn held_schema(&self) -> Value {
        schemars::schema_for!(R::Held).to_value()
    }

    fn refusals(&self, draft: &InputDraft) -> Vec<Refusal> {
        super::draft::refusals(R::NAME, draft, R::refusals)
    }

    fn acquire(&self, with: Value, cx: Context) -> AcquireFuture<'_> {
        Box::pin(async move {
            let with = super::catalog::checked_input(R::NAME, &with, R::refusals)?;
            Resource::acquire(self, with, cx).await
        })
    }

    fn settle(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Resource::settle(self))
    }
}
