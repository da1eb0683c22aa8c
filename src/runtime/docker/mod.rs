//! Services as containers, through the Docker Engine API. This module does not know the process runtime.
//! Start with [`Engine`]. `start` has the limits of containers, `build/` carries out Dockerfiles. The
//! container of a service has no network unless it has egress. It is reached through a second, tiny
//! container, which shares its network and process namespaces and runs an agent. The agent listens on a
//! Unix socket in one of our directories, so the daemon must run on this machine.

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

/// Label with the cache key of an image.
const LAYER: &str = "atoll.layer";

/// A Docker daemon that is reachable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    api: Docker,
    init: bool,
    /// Whether it supports seccomp filters.
    seccomp: bool,
    /// The data directory of this process. Images of other data directories are left alone.
    house: PathBuf,
}

impl Engine {
    /// Connects to the daemon at `host` (`unix:///path`), or at the default socket. Everything that it
    /// creates is labelled with the absolute path `house`.
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

/// A failure of the daemon, which is not the fault of the product.
fn ours(doing: &str, error: &Error) -> Failure {
    let failure = Failure::transient(format!("cannot {doing}: {error}"));
    if error.to_string().contains("no space left on device") {
        return failure.hint("free some disk space, for example with `docker system prune`");
    }
    failure
}

fn status_of(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
