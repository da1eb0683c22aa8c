//! Services that are started in advance, and volumes, in both runtimes.

use std::sync::atomic::{AtomicUsize, Ordering};

use atoll::runtime::service::{
    Environment, EnvironmentService, Leftovers, ReadinessCheck, RuntimeKind, ServiceSpec, WarmPoolSize,
};
use atoll::verb::Failure;

use super::{House, docker, house, out, sh};

fn nothing_lives(house: &House, environments: &[&Environment]) {
    for (_, running) in environments.iter().flat_map(|environment| &environment.services) {
        assert!(house.runtimes.live(running.id()).is_none(), "{} lives", running.id());
    }
    let left = std::fs::read_dir(house.data.path().join("process/live")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "directories of sandboxes are left");
}

#[tokio::test]
async fn no_more_are_started_ahead_than_are_wanted() {
    let Some(house) = house(RuntimeKind::Process, "no_more_are_started_ahead_than_are_wanted").await else {
        return;
    };
    let spec = ServiceSpec { ready: ReadinessCheck::None, ..house.spec("").await };
    let started = AtomicUsize::new(0);
    let members = || -> Result<Vec<EnvironmentService>, Failure> {
        started.fetch_add(1, Ordering::Relaxed);
        Ok(vec![EnvironmentService::new("program", spec.clone())])
    };
    let ahead = WarmPoolSize { keep: 1, of: 3 };
    let take = || house.runtimes.take("same".to_owned(), ahead, &members);
    let first = take().await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 2, "one in use, one in advance");
    let second = take().await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 3);
    let third = take().await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 3, "no more are needed");
    let ids: std::collections::BTreeSet<_> =
        [&first, &second, &third].map(|taken| taken.running().unwrap().id().to_owned()).into();
    assert_eq!(ids.len(), 3, "each has its own");
    // Another kind has its own spares; unused ones are stopped at the end.
    let other = house.runtimes.take("other".to_owned(), ahead, &members).await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 5);
    for environment in [&first, &second, &third, &other] {
        house.runtimes.stop_all(environment).await;
    }
    house.runtimes.close().await;
    nothing_lives(&house, &[&first, &second, &third, &other]);
}

#[tokio::test]
async fn what_is_let_go_late_is_gone_when_all_is_closed() {
    let Some(house) = house(RuntimeKind::Process, "what_is_let_go_late_is_gone_when_all_is_closed").await
    else {
        return;
    };
    let spec = ServiceSpec { ready: ReadinessCheck::None, ..house.spec("").await };
    let volumes = vec![("shared".to_owned(), "/shared".into())];
    let side =
        EnvironmentService { volumes: volumes.clone(), ..EnvironmentService::new("side", spec.clone()) };
    let main = EnvironmentService { volumes, ..EnvironmentService::new("program", spec) };
    let environment = house.runtimes.start_all(vec![main, side]).await.unwrap();
    assert_eq!(environment.services.len(), 2);
    house.runtimes.stop_late(environment);
    house.runtimes.close().await;
    nothing_lives(&house, &[]);
}

#[tokio::test]
async fn volumes_that_were_made_before_one_could_not_be_are_gone() {
    let Some(house) =
        house(RuntimeKind::Process, "volumes_that_were_made_before_one_could_not_be_are_gone").await
    else {
        return;
    };
    let spec = ServiceSpec { ready: ReadinessCheck::None, ..house.spec("").await };
    let volumes = vec![("first".to_owned(), "/first".into()), ("x".repeat(300), "/second".into())];
    let member = EnvironmentService { volumes, ..EnvironmentService::new("program", spec) };
    let failure = house.runtimes.start_all(vec![member]).await.err().expect("no name is that long");
    assert!(failure.message.contains("too long"), "{failure}");
    house.runtimes.close().await;
    nothing_lives(&house, &[]);
}

/// A container keeps the user of its image, so any user must be able to write to its volumes.
#[tokio::test]
async fn containers_of_different_users_share_a_volume() {
    let Some(house) = house(RuntimeKind::Docker, "containers_of_different_users_share_a_volume").await else {
        return;
    };
    let volumes = vec![("shared".to_owned(), "/home".into())];
    let mut members = Vec::new();
    for (name, user) in [("program", "0"), ("side", "4711")] {
        // The directory exists in the image, is not accessible, and is not empty.
        let rest = format!("RUN touch /home/of-the-image && chmod 0700 /home\nUSER {user}\n");
        let built = house.build(&[("Dockerfile", &house.dockerfile(&rest))]).await;
        assert!(built.ok, "{}", built.log);
        let spec = ServiceSpec::new(built.image.unwrap(), house.tag());
        let spec = ServiceSpec { ready: ReadinessCheck::None, ..spec };
        members.push(EnvironmentService { volumes: volumes.clone(), ..EnvironmentService::new(name, spec) });
    }
    let environment = house.runtimes.start_all(members).await.unwrap();
    let run = async |name: &str, line: &str| {
        let (_, running) = environment.services.iter().find(|(own, _)| own == name).unwrap();
        let ran = running.exec(sh(line)).await.unwrap();
        format!("{}{}", out(&ran), String::from_utf8_lossy(&ran.stderr))
    };
    assert_eq!(run("side", "ls /home; echo one > /home/a").await, "");
    assert_eq!(run("program", "cat /home/a; echo two > /home/b; rm /home/a").await, "one");
    assert_eq!(run("side", "cat /home/b; ls /home").await, "two\nb");
    let limit = "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max";
    assert_eq!(run("side", limit).await, "256", "each has its own limit");
    house.runtimes.stop_all(&environment).await;
}

#[tokio::test]
async fn volumes_of_the_dead_are_reaped() {
    let Some(house) = house(RuntimeKind::Docker, "volumes_of_the_dead_are_reaped").await else { return };
    let run = house.tag().run;
    let name = format!("atoll-test-{}", run.as_str());
    let labels = [format!("atoll.run={run}"), "atoll.owner=1-1".to_owned()];
    let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", label.as_str()]).collect();
    docker(&[&["volume", "create"], &labels[..], &[name.as_str()]].concat());
    assert_eq!(house.runtimes.reap(Leftovers::Of(&run)).await.volumes, 1);
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={name}")]), "");
}
