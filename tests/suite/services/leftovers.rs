//! Leftovers of dead processes are removed, and nothing else.
#![expect(clippy::disallowed_methods, reason = "tests write files and plant leftovers")]

use atoll::id::RunId;
use atoll::runtime::service::{Leftovers, RuntimeKind};

use super::{SERVER, docker, house};
use crate::binary::Project;
use crate::fifo::{Fifo, Group, write_line};

/// A dead owner: process 1 never starts one tick after boot.
const DEAD: &str = "1-1";

/// The ids of containers with the label, running or not.
fn containers(label: &str) -> Vec<String> {
    let found = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label={label}")]);
    found.lines().map(ToOwned::to_owned).collect()
}

/// Whether the image exists.
fn has_image(name: &str) -> bool {
    !docker(&["images", "--quiet", "--filter", &format!("reference={name}")]).is_empty()
}

#[tokio::test]
async fn directories_of_the_dead_are_reaped() {
    let Some(house) = house(RuntimeKind::Process, "directories_of_the_dead_are_reaped").await else { return };
    let left = house.data.path().join("process/live/svc-old");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("owner"), DEAD).unwrap();
    std::fs::write(left.join("run"), "other").unwrap();
    assert_eq!(house.runtimes.reap(Leftovers::Of(&house.run)).await.dirs, 0);
    assert_eq!(house.runtimes.reap(Leftovers::Of(&RunId::new("other"))).await.dirs, 1);
    assert!(!left.exists());
}

#[tokio::test]
async fn images_of_sandboxes_stay_as_long_as_a_run_needs_them() {
    let Some(house) = house(RuntimeKind::Process, "images_of_sandboxes_stay").await else { return };
    let spec = house.spec(SERVER).await;
    assert!(spec.image.starts_with("process:"));
    // Its name depends on the key of the user.
    let images = house.data.path().join("process/images");
    let image = std::fs::read_dir(images).unwrap().next().unwrap().unwrap().path();
    let kept = [house.run.clone()];
    assert_eq!(house.runtimes.reap(Leftovers::AllBut(&[])).await.images, 0, "its process is running");
    std::fs::write(image.join("users").join(house.run.as_str()), DEAD).unwrap();
    assert_eq!(house.runtimes.reap(Leftovers::AllBut(&kept)).await.images, 0, "its run can be resumed");
    assert!(image.exists());
    assert_eq!(house.runtimes.reap(Leftovers::AllBut(&[])).await.images, 1);
    assert!(!image.exists());
    assert!(house.spec(SERVER).await.image == spec.image, "it can be built again");
}

/// Creates a leftover container of `run`, whose process is dead, for the data directory `data`.
fn leave_container(run: &str, data: &str) -> String {
    let labels = [format!("atoll.run={run}"), format!("atoll.owner={DEAD}"), format!("atoll.house={data}")];
    let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", label.as_str()]).collect();
    let id =
        docker(&[&["run", "--detach"], &labels[..], &["atoll/busybox:latest", "sleep", "1000"]].concat());
    assert_eq!(id.len(), 64, "{id}");
    id
}

/// Creates a leftover image of `run`, whose process is dead, for the data directory `data`.
fn leave_image(name: &str, run: &str, data: &str) {
    let text = format!(
        "FROM atoll/busybox:latest\nLABEL atoll.run={run} atoll.owner={DEAD} atoll.house={data} atoll.name={name}\n"
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), text).unwrap();
    docker(&["build", "--quiet", "--tag", name, &dir.path().display().to_string()]);
    assert!(has_image(name));
}

#[tokio::test]
async fn containers_and_images_of_the_dead_are_reaped() {
    let Some(house) = house(RuntimeKind::Docker, "containers_of_the_dead").await else { return };
    let (run, data) = (house.run.as_str(), house.data.path().display().to_string());
    let label = format!("atoll.run={run}");
    leave_container(run, &data);
    house.runtimes.reap(Leftovers::Of(&house.run)).await;
    assert_eq!(containers(&label), Vec::<String>::new());
    let image = format!("atoll-test-{}", std::process::id());
    leave_image(&image, run, &data);
    leave_container(run, &data);
    house.runtimes.reap(Leftovers::AllBut(std::slice::from_ref(&house.run))).await;
    assert_eq!(containers(&label), Vec::<String>::new());
    assert!(has_image(&image), "its run can be resumed");
    house.runtimes.reap(Leftovers::AllBut(&[])).await;
    assert!(!has_image(&image));
}

const FAILS: &str = r#"
atoll = 1
name = "fails"
summary = "builds an image that fails half-way"

[inputs.mark]
type = "string"
required = true

[steps.code]
pack = { files = [
  { path = "Dockerfile", content = "FROM atoll/busybox:latest\nLABEL mark={{ inputs.mark }}\nRUN echo made > /made\nRUN exit 9\n" },
] }

[steps.build]
docker_build = { tree = "{{ steps.code.output.tree }}", runtime = "docker" }
"#;

/// Layers of a failed build have labels from the start, and are removed with their run.
#[tokio::test]
async fn layers_of_failed_builds_are_found_again() {
    let Some(_house) = house(RuntimeKind::Docker, "layers_of_failed_builds").await else { return };
    let project = Project::new().file("pipelines/fails.toml", FAILS);
    let mark = format!("layers-{}", std::process::id());
    project.run(&["run", "fails", "--mark", &mark]).exits(0);
    let data = project.path(".atoll").canonicalize().unwrap().display().to_string();
    let filter = format!("label=atoll.house={data}");
    let images = || docker(&["images", "--all", "--quiet", "--filter", &filter]);
    assert_eq!(images().lines().count(), 1, "{}", images());
    assert_eq!(containers(&format!("atoll.house={data}")), Vec::<String>::new());
    std::fs::remove_dir_all(project.path(".atoll")).unwrap();
    project.run(&["gc"]).exits(0);
    assert_eq!(images(), "");
}

#[tokio::test]
async fn gc_removes_what_no_run_needs_any_more() {
    let Some(house) = house(RuntimeKind::Docker, "gc_removes").await else { return };
    let project = Project::new().file(
        "pipelines/hello.toml",
        "atoll = 1\nname = \"hello\"\nsummary = \"says hello\"\n[steps.one]\nset = { text = \"hello\" }\n",
    );
    project.run(&["run", "hello"]).exits(0);
    let runs = project.run(&["runs", "--format", "json"]).exits(0).json();
    let run = runs["runs"][0]["run"].as_str().unwrap().to_owned();
    let data = project.path(".atoll").canonicalize().unwrap().display().to_string();
    let image = format!("atoll-test-gc-{}", std::process::id());
    leave_image(&image, &run, &data);
    leave_container(&run, &data);
    project.run(&["gc", "--dry-run"]).exits(0);
    assert!(has_image(&image));
    // Other tests may have left more, in deleted projects.
    project.run(&["gc"]).exits(0).stderr_has("removed leftovers of dead processes").stderr_has(" image");
    assert!(!has_image(&image));
    assert_eq!(containers(&format!("atoll.house={data}")), Vec::<String>::new());
    drop(house);
}

const HELD: &str = r#"
atoll = 1
name = "held"
summary = "holds a container until a file is read"

[inputs.says]
type = "string"
required = true

[inputs.hears]
type = "string"
required = true

[steps.up]
hold = { service = { image = "busybox:latest", ready = "none" } }

[steps.up.steps.wait]
idempotent = true
shell = { argv = ["sh", "-c", 'echo up > "$1"; read go < "$2"', "sh", "{{ inputs.says }}", "{{ inputs.hears }}"] }
"#;

#[tokio::test]
async fn a_run_that_goes_on_removes_what_it_left_over() {
    let Some(_house) = house(RuntimeKind::Docker, "a_run_that_goes_on").await else { return };
    let project = Project::new().file("pipelines/held.toml", HELD);
    let mut says = Fifo::new(project.path("says"));
    let hears = Fifo::new(project.path("hears"));
    let (said, heard) = (says.path().display().to_string(), hears.path().display().to_string());
    let label = format!("atoll.house={}", project.path(".atoll").display());
    let mut first = Group::start(project.command(&["run", "held", "--says", &said, "--hears", &heard]));
    assert_eq!(says.line(), "up");
    let old = containers(&label);
    assert_eq!(old.len(), 2, "the service and its agent");
    first.child.kill().unwrap();
    first.wait_for_all();
    let mut second = Group::start(project.command(&["resume", "last"]));
    assert_eq!(says.line(), "up");
    let new = containers(&label);
    assert_eq!((new.len(), new.iter().any(|id| old.contains(id))), (2, false));
    write_line(hears.path(), "go");
    assert!(second.wait().success());
    assert_eq!(containers(&label), Vec::<String>::new());
}

const SLOW: &str = r#"
atoll = 1
name = "slow"
summary = "builds an image for ever"

[inputs.seconds]
type = "int"
required = true

[steps.code]
pack = { files = [
  { path = "Dockerfile", content = "FROM atoll/busybox:latest\nLABEL mark={{ inputs.seconds }}\nCOPY Dockerfile /copied\nRUN echo made > /made\nRUN sleep {{ inputs.seconds }}\n" },
] }

[steps.build]
docker_build = { tree = "{{ steps.code.output.tree }}", runtime = "docker", timeout = "1h" }
"#;

/// A build that is killed during a `RUN` leaves a running container and the image of the earlier
/// instructions.
#[tokio::test]
async fn a_killed_build_leaves_nothing_once_gc_has_run() {
    let Some(_house) = house(RuntimeKind::Docker, "a_killed_build").await else { return };
    let project = Project::new().file("pipelines/slow.toml", SLOW);
    // No other test sleeps that long.
    let seconds = (100_000_000 + std::process::id()).to_string();
    let command = format!("sleep {seconds}");
    let mut build = project.command(&["run", "slow", "--seconds", &seconds, "--quiet"]);
    build.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut group = Group::start(build);
    let label = || format!("atoll.house={}", project.path(".atoll").display());
    let running = || {
        let found = docker(&["ps", "--quiet", "--no-trunc", "--filter", &format!("label={}", label())]);
        let sleeps = |id: &&str| docker(&["top", id, "-o", "pid,args"]).contains(&command);
        found.lines().filter(sleeps).count()
    };
    let begun = std::time::Instant::now();
    while running() == 0 {
        assert!(group.child.try_wait().unwrap().is_none(), "the build ended");
        assert!(begun.elapsed().as_secs() < 120, "the build did not reach its last command");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    group.child.kill().unwrap();
    group.wait_for_all();
    let images = || docker(&["images", "--all", "--quiet", "--filter", &format!("label={}", label())]);
    assert!(!containers(&label()).is_empty(), "a killed process removes nothing");
    project.run(&["gc"]).exits(0).stderr_has("removed leftovers of dead processes");
    assert_eq!(containers(&label()), Vec::<String>::new());
    // Its run can be resumed, so its layers are kept and removed with the run.
    assert_ne!(images(), "");
    let data = project.path(".atoll").canonicalize().unwrap();
    let told = format!("label=atoll.house={}", data.display());
    std::fs::remove_dir_all(&data).unwrap();
    project.run(&["gc"]).exits(0);
    assert_eq!(docker(&["images", "--all", "--quiet", "--filter", &told]), "");
    let left = crate::fifo::processes_with(&command);
    assert_eq!(left, Vec::<String>::new());
}
