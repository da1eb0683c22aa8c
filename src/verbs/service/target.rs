//! An already running program, and the sandbox for commands of scenarios if they have files.

use std::collections::BTreeMap;
use std::pin::Pin;

use serde_json::json;

use super::{Service, ServiceInput, ServiceLease};
use crate::runtime::service::{BuildOptions, OwnerTag, RuntimeKind};
use crate::tree::Tree;
use crate::value::Value;
use crate::verb::{Context, Failure, Lease};
use crate::verbs::build_limits::{BUILD_DISK, BUILD_MEMORY, BUILD_TIMEOUT};

/// The image of the sandbox contains only the directory for the files.
const SANDBOX_IMAGE: &str = "FROM scratch\nWORKDIR /work\n";

impl Service {
    /// The program at `target`, with a sandbox if `with` has files for one.
    pub(super) async fn reach(
        &self,
        target: &str,
        with: ServiceInput,
        cx: &Context,
    ) -> Result<Box<dyn Lease>, Failure> {
        let sandbox = if with.files.is_empty() { None } else { Some(self.sandbox(with, cx).await?) };
        let url = target.trim_end_matches('/').to_owned();
        Ok(Box::new(TargetLease { url, sandbox }))
    }

    /// A sandbox for commands, with the files of `with`.
    async fn sandbox(&self, with: ServiceInput, cx: &Context) -> Result<ServiceLease, Failure> {
        let none = |reason: &str| Failure::permanent(format!("there is no sandbox for commands: {reason}"));
        let mut tree = Tree::new();
        tree.put(&*cx.blobs, "Dockerfile", SANDBOX_IMAGE.as_bytes())?;
        let options = BuildOptions {
            runtime: RuntimeKind::Process,
            dockerfile: "Dockerfile".to_owned(),
            args: BTreeMap::new(),
            timeout: BUILD_TIMEOUT,
            memory: BUILD_MEMORY,
            disk: BUILD_DISK,
            egress: false,
            tag: OwnerTag { run: cx.run.clone(), address: cx.address.clone() },
            cancel: cx.cancel.clone(),
        };
        let report = self.runtimes.build(&tree, cx.blobs.clone(), &options).await?;
        let Some(image) = report.image.filter(|_| report.ok) else {
            return Err(none(report.reason.as_deref().unwrap_or("no reason is given")));
        };
        let place = serde_json::from_value::<ServiceInput>(json!({ "image": image, "ready": "none" }));
        let place = place.map_err(|e| none(&e.to_string()))?;
        let members = ServiceInput { files: with.files, ..place }.members(cx)?;
        let environment = tokio::select! {
            environment = self.runtimes.start_all(members) => environment?,
            () = cx.cancel.cancelled() => return Err(Failure::cancelled()),
        };
        let (runtimes, secrets) = (self.runtimes.clone(), cx.secrets.clone());
        let hold = ServiceLease { runtimes, environment: Some(environment), secrets, late: false };
        let held = hold.held();
        if held["ok"] != json!(true) {
            Box::new(hold).release().await;
            return Err(none(held["reason"].as_str().unwrap_or("no reason is given")));
        }
        Ok(hold)
    }
}

/// A program that was not started by Atoll.
struct TargetLease {
    url: String,
    sandbox: Option<ServiceLease>,
}

impl Lease for TargetLease {
    fn held(&self) -> Value {
        let id = self.sandbox.as_ref().map(|sandbox| sandbox.held()["id"].clone());
        json!({
            "ok": true, "came_up": true, "id": id.unwrap_or_else(|| json!("")), "url": self.url, "ports": {}, "log": "",
            "exit_code": null, "runtime": "target", "reason": null, "blame": null, "services": {},
        })
    }

    fn release(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = Value> + Send>> {
        Box::pin(async move {
            let last = self.held();
            if let Some(sandbox) = self.sandbox.take() {
                Box::new(sandbox).release().await;
            }
            last
        })
    }
}
