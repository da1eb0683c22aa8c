//! Services as containers, through the Docker Engine's interface. It must never know the process runtime.
//! Start with [`Engine`]; `start` holds what a container may do, `build/` follows Dockerfiles.
//!
//! A service's container has no network at all unless it asks for egress. We reach it all the same: a second, tiny
//! container shares its network and process namespaces and holds an agent, which listens on a Unix socket in a
//! directory of ours. That needs a daemon on this machine.

mod build;
mod disk_watch;
mod exec;
mod network_sidecar;
mod prepare_fs;
mod reap;
mod start;
mod terminal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use tokio::time::timeout;

use crate::runtime::service::{OwnerTag, ProcessIdentity};
use crate::verb::Failure;

const RUN: &str = "atoll.run";
const ADDRESS: &str = "atoll.address";
const OWNER: &str = "atoll.owner";
const HOUSE: &str = "atoll.house";

/// What an image of a build was made by, so that the same is not done again.
const LAYER: &str = "atoll.layer";

/// A Docker daemon that answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    api: Docker,
    init: bool,
    /// Whether it filters system calls.
    seccomp: bool,
    /// The directory that the runs of this process are kept in: images of other houses are not ours to judge.
    house: PathBuf,
}

impl Engine {
    /// Connects to the daemon at `host` (`unix:///path`), or at the usual socket. What it makes is labelled as that
    /// of the absolute path `house`.
    pub async fn connect(host: Option<&str>, house: &Path) -> Result<Self, Failure> {
        let unreachable = |why: &dyn std::fmt::Display| {
            Failure::transient(format!("the Docker daemon does not answer: {why}"))
                .hint("start it (`dockerd`, `systemctl start docker`), or use runtime = \"process\"")
        };
        let api = match host {
            Some(host) => Docker::connect_with_host(host),
            None => Docker::connect_with_unix_defaults(),
        };
        let api = api.map_err(|e| unreachable(&e))?.with_timeout(Duration::from_secs(3600));
        let api = match timeout(Duration::from_secs(5), api.negotiate_version()).await {
            Ok(api) => api.map_err(|e| unreachable(&e))?,
            Err(_) => return Err(unreachable(&"no answer within 5 s")),
        };
        let info = api.info().await.map_err(|e| unreachable(&e))?;
        let init = info.init_binary.is_some_and(|name| !name.is_empty())
            && info.init_commit.and_then(|commit| commit.id).is_some_and(|id| !id.is_empty() && id != "N/A");
        let options = info.security_options.unwrap_or_default();
        let seccomp = options.iter().any(|option| option.contains("name=seccomp"));
        Ok(Self { api, init, seccomp, house: house.to_owned() })
    }

    fn labels(&self, tag: &OwnerTag) -> HashMap<String, String> {
        let house = self.house.to_string_lossy();
        let owner = ProcessIdentity::me();
        [(RUN, tag.run.as_str()), (ADDRESS, tag.address.as_str()), (OWNER, owner.as_str()), (HOUSE, &house)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }
}

/// The daemon's trouble is ours.
fn ours(doing: &str, error: &Error) -> Failure {
    let failure = Failure::transient(format!("cannot {doing}: {error}"));
    if error.to_string().contains("no space left on device") {
        return failure.hint("free some disk space, e.g. with `docker system prune`");
    }
    failure
}

fn status_of(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
