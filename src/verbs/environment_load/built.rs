//! Builds the images of services that an environment describes.

use std::collections::BTreeMap;

use super::{EnvironmentLoadOutput, PendingBuild};
use crate::expr::tail_text;
use crate::runtime::service::{BuildOptions, OwnerTag, RuntimeKind, Runtimes};
use crate::tree::Tree;
use crate::value::Value;
use crate::verb::{Context, Failure};
use crate::verbs::build_limits::{BUILD_DISK, BUILD_MEMORY, BUILD_TIMEOUT};

/// The length of the end of a build log that a failure shows, in characters.
const LOG: usize = 2000;

/// Builds all images listed in `out`, and adds them to the services.
pub(super) async fn build_all(
    out: &mut EnvironmentLoadOutput,
    runtime: RuntimeKind,
    runtimes: &Runtimes,
    cx: &Context,
) -> Result<(), Failure> {
    for build in std::mem::take(&mut out.builds) {
        let image = build_one(&build, runtime, runtimes, cx).await?;
        if let Some(Value::Object(service)) = out.services.get_mut(&build.service) {
            service.insert("image".to_owned(), image.into());
        }
    }
    Ok(())
}

async fn build_one(
    build: &PendingBuild,
    runtime: RuntimeKind,
    runtimes: &Runtimes,
    cx: &Context,
) -> Result<String, Failure> {
    let tree = Tree::load(&*cx.blobs, &build.tree.tree)?;
    let options = BuildOptions {
        runtime,
        dockerfile: build.dockerfile.clone(),
        args: BTreeMap::new(),
        timeout: BUILD_TIMEOUT,
        memory: BUILD_MEMORY,
        disk: BUILD_DISK,
        egress: runtimes.builds_reach_out(),
        tag: OwnerTag { run: cx.run.clone(), address: cx.address.clone() },
        cancel: cx.cancel.clone(),
    };
    cx.progress.line(format!("building the service {}", build.service));
    let report = runtimes.build(&tree, cx.blobs.clone(), &options).await?;
    match report.image {
        Some(image) if report.ok => Ok(image),
        _ => {
            let reason = report.reason.as_deref().unwrap_or("no reason is given");
            let log = tail_text(&report.log, LOG).unwrap_or(report.log);
            let message =
                format!("the service `{}` of the environment does not build: {reason}\n{log}", build.service);
            Err(Failure::permanent(message.trim_end().to_owned())
                .hint("fix its Dockerfile or the files next to it"))
        }
    }
}
