//! The network of a service that can reach other services by name.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::StartContainerOptions;
use tempfile::TempDir;

use super::start::{binds, call, container_of_ours, network, own_dir, words};
use super::{Engine, ours};
use crate::relay::{Keepalive, Orders, Tunnel};
use crate::runtime::service::{RuntimeSettings, ServiceLinks, ServiceSpec};
use crate::verb::Failure;

/// A container that owns the network of a service, so that its tunnels are open before the service starts.
/// Dropping it removes it.
pub(super) struct NetworkSidecar {
    engine: Engine,
    container: String,
    keepalive: Mutex<Option<Keepalive>>,
    gone: AtomicBool,
    dir: TempDir,
}

impl NetworkSidecar {
    /// Id of the container, for `container:ID`.
    pub(super) fn container(&self) -> &str {
        &self.container
    }

    /// Removes the container. May be called repeatedly.
    pub(super) async fn remove(&self) {
        drop(self.keepalive.lock().unwrap_or_else(PoisonError::into_inner).take());
        if !self.gone.swap(true, Ordering::Relaxed) {
            self.engine.drop_container(&self.container).await;
        }
    }
}

impl Drop for NetworkSidecar {
    fn drop(&mut self) {
        if !self.gone.load(Ordering::Relaxed)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (engine, container) = (self.engine.clone(), self.container.clone());
            runtime.spawn(async move { engine.drop_container(&container).await });
        }
    }
}

impl Engine {
    /// Starts a container with open tunnels, whose network a service will use.
    pub(super) async fn hold_network(
        &self,
        id: &str,
        links: &ServiceLinks,
        spec: &ServiceSpec,
        settings: &RuntimeSettings,
    ) -> Result<NetworkSidecar, Failure> {
        let dir = own_dir()?;
        let body = holder_body(links, spec.egress, dir.path(), &settings.program)?;
        let made = self.create(&format!("{id}-network"), &spec.tag, body).await;
        let container = made.map_err(|e| ours("create the container of a network", &e))?;
        let holder = NetworkSidecar {
            engine: self.clone(),
            container,
            keepalive: Mutex::new(None),
            gone: AtomicBool::new(false),
            dir,
        };
        let started = self.api.start_container(&holder.container, None::<StartContainerOptions>).await;
        started.map_err(|e| ours("start the container of a network", &e))?;
        let keepalive = call(&holder.dir.path().join("agent")).await?;
        *holder.keepalive.lock().unwrap_or_else(PoisonError::into_inner) = Some(keepalive);
        Ok(holder)
    }
}

fn holder_body(
    links: &ServiceLinks,
    egress: bool,
    dir: &Path,
    program: &Path,
) -> Result<ContainerCreateBody, Failure> {
    let doors =
        links.doors.iter().map(|door| Tunnel { to: Path::new("/doors").join(&door.to), ..door.clone() });
    let listen = Some(PathBuf::from("/agent/agent"));
    let orders = Orders { listen, doors: doors.collect(), ..Orders::default() };
    let mut binds = binds(dir, program);
    binds.push(format!("{}:/doors:ro", links.dir.display()));
    let host = HostConfig {
        binds: Some(binds),
        network_mode: Some(network(egress)),
        extra_hosts: Some(links.names.iter().map(|(name, address)| format!("{name}:{address}")).collect()),
        cap_add: words(&["DAC_OVERRIDE", "NET_BIND_SERVICE"]),
        ..HostConfig::default()
    };
    container_of_ours(&orders, host)
}
