//! Services that are started before they are asked for, and volumes, in both runtimes.

use std::sync::atomic::{AtomicUsize, Ordering};

use atoll::clients::service::{Ahead, Environment, Kind, Leftovers, Member, Ready, ServiceSpec};
use atoll::verb::Failure;

use super::{House, docker, house};

fn nothing_lives(house: &House, environments: &[&Environment]) {
    for (_, running) in environments.iter().flat_map(|environment| &environment.services) {
        assert!(house.runtimes.live(running.id()).is_none(), "{} lives", running.id());
    }
    let left = std::fs::read_dir(house.data.path().join("process/live")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "directories of sandboxes are left");
}

#[tokio::test]
async fn no_more_are_started_ahead_than_are_wanted() {
    let Some(house) = house(Kind::Process, "no_more_are_started_ahead_than_are_wanted").await else { return };
    let spec = ServiceSpec { ready: Ready::None, ..house.spec("").await };
    let started = AtomicUsize::new(0);
    let members = || -> Result<Vec<Member>, Failure> {
        started.fetch_add(1, Ordering::Relaxed);
        Ok(vec![Member::new("program", spec.clone())])
    };
    let ahead = Ahead { keep: 1, of: 3 };
    let take = || house.runtimes.take("same".to_owned(), ahead, &members);
    let first = take().await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 2, "one to have, one ahead");
    let second = take().await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 3);
    let third = take().await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 3, "no more were wanted");
    let ids: std::collections::BTreeSet<_> =
        [&first, &second, &third].map(|taken| taken.running().unwrap().id().to_owned()).into();
    assert_eq!(ids.len(), 3, "each has its own");
    // Another kind has spares of its own; those that nobody takes are gone at the end.
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
    let Some(house) = house(Kind::Process, "what_is_let_go_late_is_gone_when_all_is_closed").await else {
        return;
    };
    let spec = ServiceSpec { ready: Ready::None, ..house.spec("").await };
    let volumes = vec![("shared".to_owned(), "/shared".into())];
    let side = Member { volumes: volumes.clone(), ..Member::new("side", spec.clone()) };
    let main = Member { volumes, ..Member::new("program", spec) };
    let environment = house.runtimes.start_all(vec![main, side]).await.unwrap();
    assert_eq!(environment.services.len(), 2);
    house.runtimes.stop_late(environment);
    house.runtimes.close().await;
    nothing_lives(&house, &[]);
}

#[tokio::test]
async fn volumes_of_the_dead_are_reaped() {
    let Some(house) = house(Kind::Docker, "volumes_of_the_dead_are_reaped").await else { return };
    let run = house.tag().run;
    let name = format!("atoll-test-{}", run.as_str());
    let labels = [format!("atoll.run={run}"), "atoll.owner=1-1".to_owned()];
    let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", label.as_str()]).collect();
    docker(&[&["volume", "create"], &labels[..], &[name.as_str()]].concat());
    assert_eq!(house.runtimes.reap(Leftovers::Of(&run)).await.volumes, 1);
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={name}")]), "");
}
