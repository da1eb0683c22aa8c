//! What shows how steps failed, as files: `--evidence DIR`.
#![expect(clippy::disallowed_methods, reason = "looks at the files that were written")]

use std::fs;

use serde_json::Value;

use super::{PAGE, PAGES, Site, served};
use crate::binary::{Project, Ran};
use crate::scenario::browser::chromium;

const PICTURE: &str = "id: ../picture
steps:
  - description: The page is another one
    browser: { action: navigate, url: / }
    assert: { title: Nothing of the kind }
";

fn run(project: &Project, site: &Site, more: &[&str]) -> Ran {
    let own = ["validate", "--scenarios", "cases", "--no-judge", "--target", &site.url];
    project.run(&[own.as_slice(), more].concat())
}

/// The files below `dir`, sorted, as paths from there.
fn files(project: &Project, dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in fs::read_dir(project.path(dir)).unwrap() {
        let folder = folder.unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            let name = file.unwrap().file_name();
            found.push(format!("{}/{}", folder.file_name().to_string_lossy(), name.to_string_lossy()));
        }
    }
    found.sort();
    found
}

#[test]
fn bodies_of_failed_steps_are_written_and_linked() {
    let setup = "setup:\n  - description: Log in\n    request: { method: POST, path: /login }\n    \
        assert: { status: 200 }\nsteps:";
    let broken = PAGE.replacen("steps:", setup, 1).replacen("id: page", "id: broken", 1);
    let cases = [("cases/page.yaml", PAGE), ("cases/broken.yaml", broken.as_str())];
    let (project, site) = served(&[PAGES.as_slice(), &cases].concat());
    let report = run(&project, &site, &["--format", "json", "--evidence", "out/deep"]).exits(4).json();
    let written = files(&project, "out/deep");
    assert_eq!(
        written,
        ["001-broken/setup-1-body.txt", "002-page/step-3-body.json", "002-page/step-4-body.txt"],
        "{report:#}"
    );
    assert_eq!(project.read("out/deep/002-page/step-3-body.json"), PAGES[1].1, "as it came");
    let page = &report["scenarios"][1]["steps"];
    assert_eq!(page[2]["attachments"], serde_json::json!(["out/deep/002-page/step-3-body.json"]));
    assert!(page[0].get("attachments").is_none() && page[2].get("evidence").is_none(), "{page}");
    assert_eq!(report["scenarios"][0]["broken"]["attachments"].as_array().unwrap().len(), 1);

    // From the record, in the other formats, and into a directory whose links are not followed.
    drop(site);
    fs::create_dir_all(project.path("again")).unwrap();
    std::os::unix::fs::symlink(project.path("out"), project.path("again/002-page")).unwrap();
    let again = |more: &[&str]| project.run(&[["validate", "--of", "last"].as_slice(), more].concat());
    again(&["--evidence", "again"]).exits(1).stderr_has("cannot write the evidence");
    again(&["--evidence", "other", "--format", "junit"])
        .exits(4)
        .stdout_has("<system-out>[[ATTACHMENT|other/002-page/step-3-body.json]]</system-out>");
    again(&["--evidence", "other"]).exits(4).stdout_has("│ other/001-broken/setup-1-body.txt");
    // Without the option nothing is written, and nothing is said of it.
    let report = again(&["--format", "json"]).exits(4).json();
    assert!(!report.to_string().contains("\"evidence\""), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_of_a_page_has_its_screenshot() {
    if chromium("a_failed_step_of_a_page_has_its_screenshot").await.is_none() {
        return;
    }
    let (project, site) = served(&[PAGES.as_slice(), &[("cases/picture.yaml", PICTURE)]].concat());
    let report = run(&project, &site, &["--format", "json", "--evidence", "out"]).exits(4).json();
    let attachments = report["scenarios"][0]["steps"][0]["attachments"].as_array().unwrap();
    let pictures: Vec<&Value> =
        attachments.iter().filter(|path| path.as_str().unwrap().ends_with("-screenshot.png")).collect();
    assert_eq!(pictures.len(), 1, "{attachments:?}");
    let path = pictures[0].as_str().unwrap();
    assert!(path.starts_with("out/001-..-picture/"), "below the directory: {path}");
    assert!(fs::read(project.path(path)).unwrap().starts_with(b"\x89PNG"));
}
