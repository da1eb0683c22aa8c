//! Environments: several services, each isolated, which can reach each other by name. The services have no
//! network. A name resolves to an address on the loopback interface of the service. Its agent listens there
//! and forwards connections through one of our sockets to the agent of the other service, or to an allowed
//! host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::complaint::complaint;
use super::tunnel::{TunnelTarget, Tunnels};
use super::{ExecSpec, Log, RunningService, Runtimes, ServiceLinks, ServiceSpec, VolumeMount};
use crate::relay::{Tunnel, unique_mark};
use crate::runtime::process;
use crate::verb::Failure;

/// A service of an environment.
pub struct EnvironmentService {
    /// Name for the other services.
    pub name: String,
    /// What to run. The environment fills in links and volumes.
    pub spec: ServiceSpec,
    /// Services that must be up first.
    pub after: Vec<String>,
    /// Hosts that it may reach, with their ports.
    pub hosts: Vec<(String, u16)>,
    /// Volumes of the environment, and their mount paths.
    pub volumes: Vec<(String, PathBuf)>,
    /// Command lines to run in it, one after the other, once it is up.
    pub seed: Vec<String>,
}

impl EnvironmentService {
    /// A service without dependencies, hosts or volumes.
    pub fn new(name: impl Into<String>, spec: ServiceSpec) -> Self {
        let (after, hosts, volumes, seed) = Default::default();
        Self { name: name.into(), spec, after, hosts, volumes, seed }
    }
}

/// Services that were started together and must be stopped together.
pub struct Environment {
    /// The started services, with the main one last. If one did not start, those after it are missing.
    pub services: Vec<(String, RunningService)>,
    /// Name of the main service.
    pub main: String,
    /// Why the main service is not up. Begins with the name of the service at fault, if that is another one.
    pub reason: Option<String>,
    /// The additional service that did not start, if that is the reason.
    pub blame: Option<String>,
    /// Output of all services, with their names before each line; for a single service, only its output.
    pub combined_log: Log,
    volumes: Vec<String>,
    kind: VolumeRuntime,
    _passages: Vec<Tunnels>,
}

/// Runtime of the volumes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VolumeRuntime {
    Docker,
    Process,
}

impl VolumeRuntime {
    fn of(spec: &ServiceSpec) -> Self {
        if spec.image.starts_with(process::PREFIX) { Self::Process } else { Self::Docker }
    }
}

/// Time limit of a seed command.
const SEED: Duration = Duration::from_secs(120);

impl Environment {
    /// The main service, if it was started.
    pub fn running(&self) -> Option<&RunningService> {
        self.services.iter().find(|(name, _)| *name == self.main).map(|(_, running)| running)
    }

    /// Whether the main service and its dependencies became ready. They may have ended since.
    pub fn came_up(&self) -> bool {
        self.reason.is_none() && self.running().is_some_and(RunningService::came_up)
    }
}

impl Runtimes {
    /// Starts services. The first one is the main service, which waits for all others. If a service or a
    /// seed command fails, that is an observation; an invalid declaration is a failure. Dropping the future
    /// stops everything.
    pub async fn start_all(&self, mut members: Vec<EnvironmentService>) -> Result<Environment, Failure> {
        let starts: Vec<(&str, &[String])> =
            members.iter().map(|member| (member.name.as_str(), member.after.as_slice())).collect();
        let start_stages = start_stages(&starts).map_err(|disorder| disorder.failure)?;
        let main = members.first().map(|member| member.name.clone()).unwrap_or_default();
        let kind = members.first().map_or(VolumeRuntime::Docker, |member| VolumeRuntime::of(&member.spec));
        let combined_log = Log::default();
        let linked = members.len() > 1;
        let (mut sockets, mut ways) = (BTreeMap::new(), BTreeMap::new());
        for member in &mut members {
            let (socket, way) = watch::channel(None);
            sockets.insert(member.name.clone(), socket);
            ways.insert(member.name.clone(), way);
            member.spec.log =
                Some(if linked { Log::telling(&member.name, &combined_log) } else { combined_log.clone() });
        }
        let passages = link(&mut members, &ways)?;
        let volumes = name_volumes(&mut members, kind)?;
        let mut started =
            StartedServices { runtimes: self.clone(), kind, services: Mutex::default(), volumes };
        if let Some(first) = members.first() {
            self.make_volumes(&started.volumes, &first.spec, kind).await?;
        }
        let (mut reason, mut blame) = (None, None);
        for start_stage in start_stages {
            let starts = start_stage.iter().map(|index| {
                let member = &members[*index];
                self.start_member(member, member.name == main, &started, &sockets)
            });
            let mut failure = None;
            for (index, end) in start_stage.iter().zip(join_all(starts).await) {
                let name = &members[*index].name;
                match end {
                    Ok(None) => {}
                    Ok(Some(_)) if reason.is_some() => {}
                    Ok(Some(why)) if *name == main => reason = Some(why),
                    Ok(Some(why)) => {
                        reason = Some(format!("`{name}` is not up: {why}"));
                        blame = Some(name.clone());
                    }
                    Err(e) => failure = Some(e),
                }
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            if reason.is_some() {
                break;
            }
        }
        let services = std::mem::take(&mut *started.lock());
        let volumes = std::mem::take(&mut started.volumes);
        Ok(Environment { services, main, reason, blame, combined_log, volumes, kind, _passages: passages })
    }

    /// Stops all services of an environment, the main one first, and removes their resources.
    pub async fn stop_all(&self, environment: &Environment) {
        for (_, running) in environment.services.iter().filter(|(name, _)| *name == environment.main) {
            self.stop(running).await;
        }
        let others = environment.services.iter().filter(|(name, _)| *name != environment.main);
        join_all(others.map(|(_, running)| self.stop(running))).await;
        self.drop_volumes(&environment.volumes, environment.kind).await;
    }

    /// Starts and seeds a service. Returns why it is not up.
    async fn start_member(
        &self,
        member: &EnvironmentService,
        is_main: bool,
        started: &StartedServices,
        sockets: &BTreeMap<String, watch::Sender<Option<PathBuf>>>,
    ) -> Result<Option<String>, Failure> {
        let up = |socket: PathBuf| {
            if let Some(waiting) = sockets.get(&member.name) {
                waiting.send_replace(Some(socket));
            }
        };
        let running = self.start_with(&member.spec, &up).await?;
        started.lock().push((member.name.clone(), running.clone()));
        // If the main service becomes ready and then ends, the caller sees that; the main service needs all
        // others.
        if let Some(reason) = running.reason().filter(|_| !(is_main && running.came_up())) {
            return Ok(Some(reason));
        }
        for line in &member.seed {
            let report = match running.exec(ExecSpec::shell(line.clone(), SEED)).await {
                Ok(report) => report,
                Err(failure) => match running.reason() {
                    Some(reason) => return Ok(Some(format!("its seed command `{line}` failed: {reason}"))),
                    None => return Err(failure),
                },
            };
            if let Some(why) = complaint(line, &report) {
                return Ok(Some(format!("its seed command failed: {why}")));
            }
        }
        Ok(None)
    }

    async fn make_volumes(
        &self,
        names: &[String],
        spec: &ServiceSpec,
        kind: VolumeRuntime,
    ) -> Result<(), Failure> {
        let user = spec.user.unwrap_or_else(process::own_user);
        for name in names {
            self.make_volume(name, &spec.tag, kind == VolumeRuntime::Process, user).await?;
        }
        Ok(())
    }

    async fn drop_volumes(&self, names: &[String], kind: VolumeRuntime) {
        for name in names {
            self.drop_volume(name, kind == VolumeRuntime::Process).await;
        }
    }
}

/// The services that were started; stopped if the start is cancelled.
struct StartedServices {
    runtimes: Runtimes,
    kind: VolumeRuntime,
    services: Mutex<Vec<(String, RunningService)>>,
    volumes: Vec<String>,
}

impl StartedServices {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, RunningService)>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StartedServices {
    fn drop(&mut self) {
        let services = std::mem::take(&mut *self.lock());
        let (volumes, kind) = (std::mem::take(&mut self.volumes), self.kind);
        if let (false, Ok(runtime)) =
            (services.is_empty() && volumes.is_empty(), tokio::runtime::Handle::try_current())
        {
            let runtimes = self.runtimes.clone();
            let stop = async move {
                for (_, running) in &services {
                    runtimes.stop(running).await;
                }
                runtimes.drop_volumes(&volumes, kind).await;
            };
            self.runtimes.spares().leaving().spawn_on(stop, &runtime);
        }
    }
}

/// Gives the volumes of an environment unique names, and sets the mounts of its members.
fn name_volumes(members: &mut [EnvironmentService], kind: VolumeRuntime) -> Result<Vec<String>, Failure> {
    let named = members.iter().flat_map(|member| &member.volumes);
    let names: BTreeSet<String> = named.map(|(name, _)| name.clone()).collect();
    let strange =
        |member: &EnvironmentService| VolumeRuntime::of(&member.spec) != kind && !member.volumes.is_empty();
    if members.iter().any(strange) {
        return Err(Failure::permanent("services of two runtimes cannot share a volume")
            .hint("build all of them with the same `runtime`"));
    }
    if kind == VolumeRuntime::Process && (members.len() > 1 || !names.is_empty()) {
        // Sandboxes that share files have the same user, and process limits are counted per user. A
        // container keeps the user of its image and has its own limit, and its volumes are writable for
        // all.
        let (user, pids) = (process::own_user(), members.iter().map(|member| member.spec.pids).sum());
        for member in
            members.iter_mut().filter(|member| VolumeRuntime::of(&member.spec) == VolumeRuntime::Process)
        {
            (member.spec.user, member.spec.pids) = (Some(user), pids);
        }
    }
    let prefix = format!("vol-{}", unique_mark());
    for member in members {
        let mount = |(name, at): &(String, PathBuf)| VolumeMount {
            volume: format!("{prefix}-{name}"),
            at: at.clone(),
        };
        member.spec.mounts = member.volumes.iter().map(mount).collect();
    }
    Ok(names.into_iter().map(|name| format!("{prefix}-{name}")).collect())
}

/// Why services have no valid start order.
#[derive(Debug)]
pub struct Disorder {
    /// Indexes of the services at fault.
    pub members: Vec<usize>,
    /// Index of an unknown name in the `after` list of a service.
    pub after: Option<usize>,
    /// The failure.
    pub failure: Failure,
}

/// The start order of services, given by name and dependencies: each starts after those it names, and the
/// first one after all others.
pub fn start_stages(members: &[(&str, &[String])]) -> Result<Vec<Vec<usize>>, Disorder> {
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    for (index, (name, after)) in members.iter().enumerate() {
        if let Some(other) = names[..index].iter().position(|other| other == name) {
            let failure = Failure::permanent(format!("two services have the name `{name}`"));
            return Err(Disorder { members: vec![other, index], after: None, failure });
        }
        if let Some(at) = after.iter().position(|name| !names.contains(&name.as_str())) {
            let text = format!("`{name}` starts after the unknown service `{}`", after[at]);
            let failure = Failure::permanent(text).hint(format!("known services: {}", names.join(", ")));
            return Err(Disorder { members: vec![index], after: Some(at), failure });
        }
    }
    let (mut start_stages, mut up) = (Vec::new(), BTreeSet::new());
    while up.len() < members.len() {
        let waits = |index: &usize| {
            let all = *index == 0 && up.len() + 1 < members.len();
            all || members[*index].1.iter().any(|name| !up.contains(name.as_str()))
        };
        let start_stage: Vec<usize> =
            (0..members.len()).filter(|i| !up.contains(names[*i]) && !waits(i)).collect();
        if start_stage.is_empty() {
            let left: Vec<usize> = (0..members.len()).filter(|i| !up.contains(names[*i])).collect();
            let said: Vec<&str> = left.iter().map(|index| names[*index]).collect();
            let text = format!("these services wait for each other: {}", said.join(", "));
            let failure = Failure::permanent(text)
                .hint("the main service starts after all others, so no other service can wait for it");
            return Err(Disorder { members: left, after: None, failure });
        }
        up.extend(start_stage.iter().map(|index| names[*index]));
        start_stages.push(start_stage);
    }
    Ok(start_stages)
}

/// The failure of two services with the same port, which could not reach each other.
pub fn same_port(one: &str, other: &str, port: u16) -> Failure {
    Failure::permanent(format!("`{one}` and `{other}` both listen on port {port}")).hint(
        "services of one environment reach each other on their ports: set another `port` for one of them (the service \
         receives it as PORT)",
    )
}

/// The failure of a service that listens on the same port as `host`, so that it could not reach it.
pub fn own_port(service: &str, host: &str, port: u16) -> Failure {
    Failure::permanent(format!("`{service}` listens on port {port} itself, so it cannot reach {host}:{port}"))
        .hint("set another `port` for the service")
}

/// Creates tunnels from every member to each port of every other, and to each host that it may reach.
fn link(
    members: &mut [EnvironmentService],
    ways: &BTreeMap<String, watch::Receiver<Option<PathBuf>>>,
) -> Result<Vec<Tunnels>, Failure> {
    let others: Vec<(String, Vec<u16>)> =
        members.iter().map(|member| (member.name.clone(), member.spec.all_ports().collect())).collect();
    let mut all = Vec::new();
    let broken =
        |e: std::io::Error| Failure::transient(format!("cannot open a tunnel between services: {e}"));
    for member in members.iter_mut().filter(|member| others.len() > 1 || !member.hosts.is_empty()) {
        let own: Vec<u16> = member.spec.all_ports().collect();
        let mut passages = Tunnels::new().map_err(broken)?;
        let mut links = ServiceLinks { dir: passages.dir(), ..ServiceLinks::default() };
        let mut door = |links: &mut ServiceLinks, at: Ipv4Addr, port: u16, leads: TunnelTarget| {
            let to = passages.open(leads).map_err(broken)?;
            links.doors.push(Tunnel { at: SocketAddr::new(IpAddr::V4(at), port), to });
            Ok::<_, Failure>(())
        };
        for (index, (name, ports)) in others.iter().enumerate() {
            if *name == member.name {
                links.names.push((name.clone(), Ipv4Addr::LOCALHOST));
                continue;
            }
            let at = address(1, index)?;
            links.names.push((name.clone(), at));
            for port in ports {
                if own.contains(port) {
                    return Err(same_port(&member.name, name, *port));
                }
                let way = ways.get(name).cloned().unwrap_or_else(|| watch::channel(None).1);
                door(&mut links, at, *port, TunnelTarget::Service(way, *port))?;
            }
        }
        let log = member.spec.log();
        let names: BTreeSet<&String> = member.hosts.iter().map(|(name, _)| name).collect();
        for (index, name) in names.into_iter().enumerate() {
            let at = address(2, index)?;
            links.names.push((name.clone(), at));
            for (_, port) in member.hosts.iter().filter(|(other, _)| other == name) {
                if own.contains(port) {
                    return Err(own_port(&member.name, name, *port));
                }
                door(&mut links, at, *port, TunnelTarget::Host(name.clone(), *port, log.clone()))?;
            }
        }
        member.spec.links = Some(links);
        all.push(passages);
    }
    Ok(all)
}

fn address(net: u8, index: usize) -> Result<Ipv4Addr, Failure> {
    let last = u8::try_from(index + 1).ok().filter(|last| *last < 255);
    last.map(|last| Ipv4Addr::new(127, 0, net, last))
        .ok_or_else(|| Failure::permanent("more than 254 services or hosts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Address, RunId};
    use crate::runtime::service::OwnerTag;

    fn member(name: &str, after: &[&str]) -> EnvironmentService {
        let spec = ServiceSpec::new("x", OwnerTag { run: RunId::new("r"), address: Address::new("a") });
        let after = after.iter().map(|name| (*name).to_owned()).collect();
        EnvironmentService { after, ..EnvironmentService::new(name, spec) }
    }

    fn order(members: &[EnvironmentService]) -> Result<Vec<Vec<usize>>, Disorder> {
        let starts: Vec<(&str, &[String])> =
            members.iter().map(|member| (member.name.as_str(), member.after.as_slice())).collect();
        start_stages(&starts)
    }

    fn named(members: &[EnvironmentService]) -> Vec<Vec<&str>> {
        let name = |index: &usize| members[*index].name.as_str();
        order(members).unwrap().iter().map(|start_stage| start_stage.iter().map(name).collect()).collect()
    }

    #[test]
    fn services_start_after_those_they_name_and_the_main_one_last() {
        let members = [member("app", &[]), member("web", &["db"]), member("db", &[]), member("cache", &[])];
        assert_eq!(named(&members), [vec!["db", "cache"], vec!["web"], vec!["app"]]);
        assert_eq!(named(&members[..1]), [["app"]]);
    }

    #[test]
    fn orders_that_nobody_can_follow_are_refused() {
        let message = |members: &[EnvironmentService]| order(members).unwrap_err().failure.message;
        assert!(message(&[member("app", &[]), member("db", &["dbb"])]).contains("the unknown service"));
        let circle = [member("app", &[]), member("a", &["b"]), member("b", &["a"])];
        assert!(message(&circle).contains("wait for each other: app, a, b"));
        assert!(message(&[member("app", &[]), member("a", &["app"])]).contains("wait for each other"));
        assert!(message(&[member("a", &[]), member("a", &[])]).contains("two services"));
    }

    #[test]
    fn only_sandboxes_share_a_user_and_a_limit() {
        let shared = |name: &str| EnvironmentService {
            volumes: vec![("shared".to_owned(), "/shared".into())],
            ..member(name, &[])
        };
        let given = |members: &[EnvironmentService]| {
            members.iter().map(|member| (member.spec.user, member.spec.pids)).collect::<Vec<_>>()
        };
        let mut members = [shared("app"), shared("db")];
        let names = name_volumes(&mut members, VolumeRuntime::Docker).unwrap();
        assert_eq!(given(&members), [(None, 256), (None, 256)]);
        assert_eq!(members[0].spec.mounts, members[1].spec.mounts);
        assert_eq!(names, [members[0].spec.mounts[0].volume.clone()]);

        members.iter_mut().for_each(|member| member.spec.image = format!("{}x", process::PREFIX));
        assert!(name_volumes(&mut members, VolumeRuntime::Docker).is_err(), "two runtimes share no volume");
        name_volumes(&mut members, VolumeRuntime::Process).unwrap();
        let user = members[0].spec.user;
        assert_eq!(given(&members), [(user, 512), (user, 512)]);
        assert!(user.is_some());
    }

    #[tokio::test]
    async fn two_services_on_one_port_cannot_reach_each_other() {
        let mut members = [member("app", &[]), member("db", &[])];
        let message = link(&mut members, &BTreeMap::new()).err().unwrap().message;
        assert_eq!(message, "`app` and `db` both listen on port 8080");
    }
}
