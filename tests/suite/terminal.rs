//! Questions in a terminal: a pseudo-terminal provides the keyboard and the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};

use nix::pty::openpty;
use serde_json::{Value, json};

use crate::binary::Project;

/// The binary in a terminal.
struct Terminal {
    keyboard: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn run(project: &Project) -> Self {
        let pair = openpty(None, None).expect("a pseudo-terminal");
        let (master, slave) = (File::from(pair.master), File::from(pair.slave));
        let mut command = project.command(&["run", "p.toml", "--format", "json"]);
        command.env_remove("CI").env("TERM", "xterm-256color");
        command.stdin(Stdio::from(slave.try_clone().unwrap())).stderr(Stdio::from(slave));
        let child = command.spawn().expect("the binary starts");
        // Only the child has the slave side open now, so the terminal ends with the child.
        drop(command);
        Self { keyboard: master, child, seen: String::new() }
    }

    /// Reads the screen until new output has `text`, and returns that output.
    fn until(&mut self, text: &str) -> String {
        let mut bytes = [0; 1024];
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.keyboard.read(&mut bytes) {
                Ok(count @ 1..) => self.seen.push_str(&String::from_utf8_lossy(&bytes[..count])),
                _ => panic!("the terminal ended without {text:?}: {}", self.seen),
            }
        }
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn end(mut self) -> Value {
        // The screen is read in a thread, so that the binary never blocks on output.
        let mut screen = self.keyboard.try_clone().unwrap();
        std::thread::spawn(move || screen.read_to_end(&mut Vec::new()));
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.child.wait().unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }
}

fn project(steps: &str) -> Project {
    Project::new().file("p.toml", &format!("atoll = 1\n{steps}"))
}

#[test]
fn progress_is_drawn_and_not_over_a_question() {
    let project = project(
        "[steps.water]\nshell = { argv = [\"sleep\", \"0.3\"] }\n[steps.sugar]\nneeds = [\"water\"]\n\
         ask = { question = \"Sugar?\", choices = [\"yes\", \"no\"] }\n[outputs]\nsugar = \"steps.sugar.output\"\n",
    );
    let clears = "\u{1b}[2K";
    let mut terminal = Terminal::run(&project);
    assert!(terminal.until("? sugar: Sugar?").contains(clears), "no status line is drawn");
    let question = terminal.until("answer: ");
    assert!(question.contains("1  yes") && !question.contains(clears), "{question:?}");
    terminal.type_in("maybe\n");
    let reply = terminal.until("`maybe` is not one of the choices: yes, no");
    assert!(!reply.contains(clears), "{reply:?}");
    terminal.until("answer: ");
    terminal.type_in("yes\n");
    terminal.until("answered \"yes\" by terminal");
    assert_eq!(terminal.end()["outputs"], json!({"sugar": "yes"}));
}

#[test]
fn free_text_stays_text_and_a_wrong_answer_is_asked_again() {
    let project = project(
        "[steps.a]\nask = { question = \"number?\" }\n[steps.b]\nneeds = [\"a\"]\n\
         ask = { question = \"sure?\", choices = [\"yes\", \"no\"] }\n[outputs]\na = \"steps.a.output\"\nb = \"steps.b.output\"\n",
    );
    let mut terminal = Terminal::run(&project);
    terminal.until("answer: ");
    terminal.type_in("007\n");
    terminal.until("2  no");
    terminal.until("answer: ");
    terminal.type_in("perhaps\n");
    terminal.until("not one of the choices: yes, no");
    terminal.until("answer: ");
    terminal.type_in("2\n");
    assert_eq!(terminal.end()["outputs"], json!({"a": "007", "b": "no"}));
}

#[test]
fn pasted_lines_never_answer_the_next_question() {
    let project = project(
        "[steps.a]\nask = { question = \"first?\" }\n[steps.b]\nneeds = [\"a\"]\nask = { question = \"second?\" }\n\
         [outputs]\na = \"steps.a.output\"\nb = \"steps.b.output\"\n",
    );
    let mut terminal = Terminal::run(&project);
    terminal.until("answer: ");
    terminal.type_in("one\ntwo\nthree\nyes");
    terminal.until("second?");
    let told = terminal.until("answer: ");
    assert!(told.contains("ignored, because it was typed before the question was shown"), "{told}");
    assert!(told.contains("  two") && told.contains("  three") && told.contains("  yes"), "{told}");
    terminal.type_in("four\n");
    assert_eq!(terminal.end()["outputs"], json!({"a": "one", "b": "four"}));
}

#[test]
fn all_questions_are_told_at_once() {
    let project = project(
        "[steps.all.each]\nover = \"['x', 'y', 'z']\"\n[steps.all.steps.q]\nask = { question = \"publish {{ item }}?\" }\n\
         [outputs]\nall = \"steps.all.output\"\n",
    );
    let mut terminal = Terminal::run(&project);
    for others in [2, 1, 0] {
        let told = terminal.until("answer: ");
        assert_eq!(told.matches("/q: publish").count(), others + 1, "{told}");
        terminal.type_in("fine\n");
    }
    assert_eq!(terminal.end()["outputs"], json!({"all": ["fine", "fine", "fine"]}));
}

#[test]
fn an_answer_from_elsewhere_ends_the_question_on_the_terminal() {
    let project = project(
        "[steps.a]\nask = { question = \"first?\" }\n[steps.b]\nneeds = [\"a\"]\nask = { question = \"second?\" }\n\
         [outputs]\na = \"steps.a.output\"\nb = \"steps.b.output\"\n",
    );
    let mut terminal = Terminal::run(&project);
    terminal.until("answer: ");
    project.run(&["answer", "last", "a", "elsewhere"]).exits(0).stderr_has("answered");
    terminal.until("no longer needed");
    terminal.until("second?");
    terminal.until("answer: ");
    terminal.type_in("here\n");
    let ended = terminal.end();
    assert_eq!(ended["outputs"], json!({"a": "elsewhere", "b": "here"}));
}

#[test]
fn a_deadline_ends_the_question_on_the_terminal() {
    let project = project(
        "[steps.a]\nask = { question = \"first?\", deadline = \"1s\", at_deadline = \"late\" }\n[outputs]\na = \"steps.a.output\"\n",
    );
    let mut terminal = Terminal::run(&project);
    terminal.until("the answer is `late`");
    terminal.until("answer: ");
    assert_eq!(terminal.end()["outputs"], json!({"a": "late"}));
}
