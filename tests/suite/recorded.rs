//! Whole runs of the factory, offline: the answers of a real model come from the tapes of `examples/`, and
//! everything else is real. If a runtime is missing, a test prints *skipped*; with
//! `ATOLL_REQUIRE=docker,process` it fails.
#![expect(clippy::disallowed_methods, reason = "tests read examples and start programs")]

use std::io::BufReader;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::binary::{IMAGES, Project, Ran};
use crate::fifo::{Group, was_killed};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Examples of the factory that have recorded answers.
fn taped() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let taped = entries.filter(|path| path.join("run.args").is_file());
    let mut names: Vec<String> =
        taped.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The tape of an example.
fn tape(example: &str) -> String {
    format!("examples/{example}/cassette.jsonl")
}

/// `atoll run factory` as the example was recorded, with its tape and a separate data directory.
pub fn growing(project: &Project, example: &str, more: &[&str]) -> Command {
    on(project, example, &format!("examples/{example}/scenarios"), more)
}

/// The same with other scenarios.
fn on(project: &Project, example: &str, scenarios: &str, more: &[&str]) -> Command {
    let text = std::fs::read_to_string(root().join(format!("examples/{example}/run.args"))).unwrap();
    let text = text.replace(&format!("examples/{example}/scenarios"), scenarios);
    let inputs = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    let mut command = project.command(&["run", "factory"]);
    command.current_dir(root()).args(inputs).args(["--replay", &tape(example)]);
    command.arg("--data-dir").arg(project.path("runs")).arg("--out").arg(project.path("out")).args(more);
    command
}

pub fn ran(mut command: Command) -> Ran {
    Ran::of(&["run", "factory", "…"], &command.output().unwrap())
}

/// Whether `runtime` is available. The test fails if it is required and missing.
pub fn there(runtime: &str, test: &str) -> bool {
    let probe: &[&str] = if runtime == "docker" { &["docker", "info"] } else { &["bwrap", "--version"] };
    let here = Command::new(probe[0]).args(&probe[1..]).output().is_ok_and(|output| output.status.success());
    let required = std::env::var("ATOLL_REQUIRE").unwrap_or_default();
    assert!(here || !required.split(',').any(|name| name == runtime), "{runtime} is required and missing");
    if !here {
        println!("skipped: {test}: {runtime} is missing");
    }
    here
}

/// Whether Docker has `image`. The test fails if images are required and it is missing.
pub fn has_image(image: &str, test: &str) -> bool {
    let pairs = IMAGES.split(',').filter_map(|pair| pair.split_once('='));
    let image = pairs.filter(|(name, _)| *name == image).map(|(_, with)| with).next().unwrap_or(image);
    let inspected = Command::new("docker").args(["image", "inspect", image]).output();
    let here = inspected.is_ok_and(|output| output.status.success());
    let required = std::env::var("ATOLL_REQUIRE").unwrap_or_default();
    assert!(here || !required.split(',').any(|name| name == "images"), "{image} is required and missing");
    if !here {
        println!("skipped: {test}: {image} is missing");
    }
    here
}

/// Removes the images that a run built.
fn forget_images(run: &str) {
    let filter = format!("label=atoll.run={run}");
    Command::new("docker").args(["image", "prune", "--force", "--filter", &filter]).output().ok();
}

#[test]
fn recorded_examples_converge_again_in_the_sandbox() {
    if !there("process", "recorded_examples_converge_again_in_the_sandbox") {
        return;
    }
    let names = taped();
    assert!(names.iter().any(|name| name == "greeting"), "{names:?}");
    for name in names {
        let project = Project::new();
        let again = ran(growing(&project, &name, &["--runtime", "process", "--format", "json"]));
        let result = again.exits(0).json();
        let outputs = &result["outputs"];
        assert_eq!(outputs["status"], "converged", "{name}: {result}");
        assert_eq!(outputs["rounds"], outputs["scores"].as_array().unwrap().len(), "{result}");
        assert!(project.path("out/Dockerfile").exists(), "{name}");
    }
}

/// Scenarios that share a program run against one program in each round, with the same results.
#[test]
fn scenarios_that_share_a_program_need_one_in_each_round() {
    if !there("process", "scenarios_that_share_a_program_need_one_in_each_round") {
        return;
    }
    let held = |isolation: &str| {
        let project = Project::new();
        for entry in std::fs::read_dir(root().join("examples/greeting/scenarios")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            project.write(&format!("cases/{name}"), &format!("{text}isolation: {isolation}\n"));
        }
        let (cases, events) = (project.path("cases"), project.path("events.jsonl"));
        let more = ["--runtime", "process", "--format", "json", "--events", events.to_str().unwrap()];
        let result = ran(on(&project, "greeting", cases.to_str().unwrap(), &more)).exits(0).json();
        let held = project.read("events.jsonl").matches(r#""fact":"acquired""#).count();
        (result["outputs"]["rounds"].as_u64().unwrap(), result["outputs"]["scores"].clone(), held)
    };
    let ((rounds, scores, fresh), (again, same, shared)) = (held("fresh"), held("shared"));
    assert_eq!((rounds, scores), (again, same));
    assert_eq!((fresh as u64, shared as u64), (3 * rounds, rounds));
}

#[test]
fn a_recorded_example_converges_again_in_docker() {
    if !there("docker", "a_recorded_example_converges_again_in_docker") {
        return;
    }
    let project = Project::new();
    let again = ran(growing(&project, "greeting", &["--runtime", "docker", "--format", "json"]));
    let result = again.exits(0).stderr_has("building with runtime docker").json();
    forget_images(result["run"].as_str().unwrap());
    assert_eq!(result["outputs"]["status"], "converged", "{result}");
    assert_eq!(result["outputs"]["score"], json!(100.0), "{result}");
}

#[test]
fn a_killed_factory_goes_on_and_grows_the_same_program() {
    if !there("process", "a_killed_factory_goes_on_and_grows_the_same_program") {
        return;
    }
    let project = Project::new();
    let whole = ran(growing(&project, "greeting", &["--runtime", "process", "--format", "json"])).exits(0);
    let expected = whole.json()["outputs"].clone();
    for moment in ["converge#1/generate_blocks  begins", "✓ converge#1/build", "✓ converge#2/generate_blocks"]
    {
        let project = Project::new();
        let mut group = Group::start(growing(&project, "greeting", &["--runtime", "process"]));
        let heard = Group::read_until(&mut BufReader::new(group.child.stderr.take().unwrap()), moment);
        assert!(heard.last().is_some_and(|line| line.contains(moment)), "{heard:?}");
        group.signal(Signal::SIGKILL);
        assert!(was_killed(group.wait()));

        let mut rest =
            project.command(&["resume", "last", "--replay", &tape("greeting"), "--format", "json"]);
        rest.current_dir(root()).arg("--data-dir").arg(project.path("runs"));
        let rest = ran(rest).exits(0);
        assert_eq!(rest.json()["outputs"], expected, "killed after {moment}");
        if moment.contains('✓') {
            let done = moment.trim_start_matches("✓ ");
            assert!(!rest.stderr.contains(&format!("{done}  begins")), "{moment}: {}", rest.stderr);
        }
    }
}

/// If the program cannot be written to the given place, the run fails. If that is known before the start,
/// nothing is spent.
#[test]
fn a_program_that_cannot_be_delivered_fails_the_run() {
    if !there("process", "a_program_that_cannot_be_delivered_fails_the_run") {
        return;
    }
    let why = "contains files that are not from an earlier delivery";
    let project = Project::new().file("out/mine.txt", "mine");
    let known = ran(growing(&project, "greeting", &["--runtime", "process"])).exits(1).stderr_has(why);
    assert!(!known.stderr.contains("converge#1"), "{}", known.stderr);
    // A failure that is only found at the end.
    let elsewhere = "steps.place.deliver.into=\"target/tmp/elsewhere\"";
    let more = ["--runtime", "process", "--set", elsewhere, "--format", "json"];
    let late = ran(growing(&project, "greeting", &more)).exits(1).stderr_has(why);
    assert_eq!(late.json()["status"], "failed");
    assert_eq!(project.read("out/mine.txt"), "mine");
}

/// If a candidate cannot be observed because of a problem on our side, the run ends, and the candidate gets
/// no score.
#[test]
fn trouble_of_ours_is_no_round() {
    if !there("process", "trouble_of_ours_is_no_round") {
        return;
    }
    let project = Project::new();
    let memory = "steps.converge.steps.observe.steps.trial.hold.service.memory=\"{{ inputs.runtime }}\"";
    let broken = ran(growing(&project, "greeting", &["--runtime", "process", "--set", memory]));
    let broken =
        broken.exits(1).stderr_has("the candidate could not be observed").stderr_has("is not a valid size");
    assert!(!broken.stderr.contains("converge#2"), "{}", broken.stderr);
}
