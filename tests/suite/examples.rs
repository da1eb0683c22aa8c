//! The small projects of `examples/` work offline: the commands of their README print what it says.
#![expect(clippy::disallowed_methods, reason = "tests copy the files of examples")]

use std::path::Path;
use std::{fs, io};

use crate::binary::Project;
use crate::docs::follow_in;
use crate::recorded::there;

/// A project with the files of `examples/NAME`.
fn copy_of(name: &str) -> io::Result<Project> {
    let project = Project::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    copy(&from, &project.path(""))?;
    Ok(project)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn works(name: &str) -> usize {
    let project = copy_of(name).unwrap_or_else(|error| panic!("examples/{name}: {error}"));
    follow_in(&project, &format!("examples/{name}/README.md"), &[], |_| true)
}

#[test]
fn steps_whose_files_did_not_change_are_not_repeated() {
    assert_eq!(works("ci"), 3);
}

#[test]
fn a_csv_file_goes_through_a_model() {
    assert_eq!(works("csv"), 1);
}

#[test]
fn a_report_is_published_after_approval() {
    assert_eq!(works("report"), 3);
}

#[test]
fn a_text_is_refined_until_the_judge_is_satisfied() {
    assert_eq!(works("refine"), 1);
}

#[test]
fn a_prompt_of_another_pipeline_is_changed() {
    assert!(works("overlay") >= 1);
}

#[test]
fn an_agent_fixes_a_program_whose_tests_fail() {
    if there("process", "fix-test") {
        assert_eq!(works("fix-test"), 2);
    }
}
