use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Context, Draft, Failure, Refusal, Traits};
use crate::value::Value;

/// Something that `hold` acquires, gives to its body as `held`, and releases afterwards in any case.
pub trait Resource: Send + Sync + 'static {
    /// The key that names it inside `hold`.
    const NAME: &'static str;
    /// What it is, in one line.
    const SUMMARY: &'static str;
    /// The concurrency lane it counts against while it is being acquired.
    const TRAITS: Traits;
    /// A step in TOML that shows it.
    const EXAMPLE: &'static str;
    /// What it takes, after rendering.
    type With: DeserializeOwned + JsonSchema + Send + 'static;
    /// What the body sees as `held`.
    type Held: serde::Serialize + JsonSchema + Send + 'static;

    /// Why it cannot be acquired with this input. It depends on nothing but the input: see [`Verb::refusals`](super::Verb::refusals).
    fn refusals(_with: &Self::With) -> Vec<Refusal> {
        Vec::new()
    }

    /// Acquires it. The product's misfortune (a service that does not come up) is a lease whose `held` says
    /// `ok = false`; only our own trouble is a [`Failure`].
    fn acquire(
        &self,
        with: Self::With,
        cx: Context,
    ) -> impl Future<Output = Result<Box<dyn Lease>, Failure>> + Send;

    /// Lets go of what is kept between two holds. Called when a run ends, for whatever reason.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A resource while it is held.
pub trait Lease: Send + 'static {
    /// What the body sees as `held`, serialised from [`Resource::Held`].
    fn held(&self) -> Value;
    /// Lets go, always, and says what `held` has become (final log, exit code).
    fn release(self: Box<Self>) -> Pin<Box<dyn Future<Output = Value> + Send>>;
}

/// A future of an erased call.
pub type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Lease>, Failure>> + Send + 'a>>;

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
    /// JSON Schema of what it takes.
    fn with_schema(&self) -> Value;
    /// JSON Schema of `held`.
    fn held_schema(&self) -> Value;
    /// See [`Resource::refusals`]: those of an input that is not rendered yet and are certain whatever it becomes.
    fn refusals(&self, draft: &Draft) -> Vec<Refusal>;
    /// Reads `with` and acquires.
    fn acquire(&self, with: Value, cx: Context) -> Acquiring<'_>;
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

    fn refusals(&self, draft: &Draft) -> Vec<Refusal> {
        super::draft::refusals(R::NAME, draft, R::refusals)
    }

    fn acquire(&self, with: Value, cx: Context) -> Acquiring<'_> {
        Box::pin(async move {
            let with = super::catalog::accepted(R::NAME, &with, R::refusals)?;
            Resource::acquire(self, with, cx).await
        })
    }

    fn settle(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Resource::settle(self))
    }
}
