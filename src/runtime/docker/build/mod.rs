//! Builds: carries out a Dockerfile instruction by instruction. Commands run in containers with the limits
//! of services, because the builder of the daemon has no option for most of them. This module does not know
//! the process runtime. Start with [`Engine::build`]. `stage` carries out instructions, `layer` creates
//! images and runs commands, `put` copies files, `archive` limits what is copied, `base` gets images,
//! `fault` decides who is at fault.
#![expect(clippy::disallowed_methods, reason = "measures how long a build takes, and looks up a name")]

mod archive;
mod base;
mod fault;
mod layer;
mod put;
mod stage;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use tokio::time::timeout;

use super::Engine;
use crate::relay::unique_mark;
use crate::runtime::service::{BuildContext, BuildOptions, BuildReport, Log, RuntimeSettings, parse};
use crate::verb::Failure;

/// Why a build ended early: the fault of the product, or ours.
enum DockerBuildStop {
    Product { reason: String, exit_code: Option<i64> },
    Ours(Failure),
}

impl From<Failure> for DockerBuildStop {
    fn from(failure: Failure) -> Self {
        Self::Ours(failure)
    }
}

fn product(reason: impl Into<String>) -> DockerBuildStop {
    DockerBuildStop::Product { reason: reason.into(), exit_code: None }
}

/// Whether DNS works here, so that an unknown host name is wrong.
async fn is_online() -> bool {
    let lookup = tokio::net::lookup_host("registry-1.docker.io:443");
    timeout(Duration::from_secs(3), lookup).await.is_ok_and(|found| found.is_ok())
}

/// A running build. Its containers are removed at its end, also if it is dropped.
struct ImageBuild<'a> {
    engine: &'a Engine,
    settings: &'a RuntimeSettings,
    options: &'a BuildOptions,
    context: Arc<BuildContext>,
    log: Log,
    id: String,
    next: AtomicU64,
    /// Names of its containers.
    live: Mutex<Vec<String>>,
}

impl Engine {
    /// Builds an image from the Dockerfile `text` and the files of `context`.
    pub async fn build(
        &self,
        context: BuildContext,
        text: &str,
        options: &BuildOptions,
        settings: &RuntimeSettings,
    ) -> Result<BuildReport, Failure> {
        let begun = Instant::now();
        let build = ImageBuild {
            engine: self,
            settings,
            options,
            context: Arc::new(context),
            log: Log::default(),
            id: format!("build-{}", unique_mark()),
            next: AtomicU64::new(0),
            live: Mutex::default(),
        };
        let end = tokio::select! {
            end = timeout(options.timeout, build.follow(text)) => {
                end.unwrap_or_else(|_| Err(product(format!("the build did not finish within {:?}", options.timeout))))
            }
            () = options.cancel.cancelled() => Err(DockerBuildStop::Ours(Failure::cancelled())),
        };
        build.clean().await;
        let mut report = BuildReport { runtime: "docker".to_owned(), ..BuildReport::default() };
        match end {
            Err(DockerBuildStop::Ours(failure)) => {
                return Err(failure.detail(serde_json::json!({ "log": build.log.tail(4000) })));
            }
            Ok(image) => (report.ok, report.image) = (true, Some(image)),
            Err(DockerBuildStop::Product { reason, exit_code }) => {
                build.log.push(format!("{reason}\n").as_bytes());
                (report.reason, report.exit_code) = (Some(reason), exit_code);
            }
        }
        report.log = build.log.text();
        report.duration_ms = crate::clock::millis(begun.elapsed());
        Ok(report)
    }
}

impl ImageBuild<'_> {
    async fn follow(&self, text: &str) -> Result<String, DockerBuildStop> {
        let file = parse(text).map_err(product)?;
        let last = self.stages(&file).await?;
        self.finish(last).await
    }

    /// Creates a container. Its name is recorded first, so that it is always removed.
    async fn container(&self, body: ContainerCreateBody) -> Result<String, DockerBuildStop> {
        let name = format!("{}-{}", self.id, self.next.fetch_add(1, Ordering::Relaxed));
        self.live.lock().unwrap_or_else(PoisonError::into_inner).push(format!("atoll-{name}"));
        let host = body.host_config.clone().unwrap_or_default();
        match Box::pin(self.engine.create(&name, &self.options.tag, body)).await {
            Ok(container) => Ok(container),
            Err(e) => Err(Box::pin(self.blame("create a container", &e, host)).await),
        }
    }

    /// Removes all containers of the build.
    async fn clean(&self) {
        let live = std::mem::take(&mut *self.live.lock().unwrap_or_else(PoisonError::into_inner));
        for name in live {
            self.engine.drop_container(&name).await;
        }
    }
}

impl Drop for ImageBuild<'_> {
    fn drop(&mut self) {
        let live = std::mem::take(&mut *self.live.lock().unwrap_or_else(PoisonError::into_inner));
        if let (false, Ok(runtime)) = (live.is_empty(), tokio::runtime::Handle::try_current()) {
            let engine = self.engine.clone();
            runtime.spawn(async move {
                for name in live {
                    engine.drop_container(&name).await;
                }
            });
        }
    }
}
