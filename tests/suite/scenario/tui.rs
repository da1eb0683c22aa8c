//! `tui` steps against programs of the distribution, in sandboxes and in containers.

use atoll::runtime::service::{ExecSpec, ReadinessCheck, RunningService, RuntimeKind, ServiceSpec};
use atoll::scenario::{Observation, Shell, StepDecision, StepSeen, load};
use atoll::system_clock::SystemClock;
use serde_json::json;

use super::peers::has_terminal_programs;
use super::program::LocalShell;
use super::{QuickClock, play, play_on, read, steps};
use crate::fifo::processes_with;
use crate::services::{House, house};

/// A sandbox in which only programs of scenarios run; `None` after a note if something is missing.
pub async fn sandbox(test: &str) -> Option<(House, RunningService)> {
    if !has_terminal_programs(test) {
        return None;
    }
    let house = house(RuntimeKind::Process, test).await?;
    let running = house.start("print('unused')\n", ReadinessCheck::None).await;
    Some((house, running))
}

pub async fn watch(running: &RunningService, text: &str) -> Observation {
    play_on(&steps(text), None, Some(running as &dyn Shell), &SystemClock, "").await
}

fn text(step: &StepSeen) -> &str {
    &step.observed.as_ref().unwrap().text
}

/// Fails unless every step has assertions and all of them hold.
pub fn all_hold(seen: &Observation) {
    for step in &seen.steps {
        assert_eq!(step.decided, StepDecision::Held, "{}", crate::scenario::brief(step));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_menu_is_walked_through_with_keys() {
    let Some((house, running)) = sandbox("a_menu_is_walked_through_with_keys").await else { return };
    let seen = watch(
        &running,
        r#"
- tui:
    command: |
      whiptail --title Fruit --menu "Choose one" 15 50 3 a apple b banana c cherry 2>/tmp/choice
      echo "code $? choice $(cat /tmp/choice)"
    wait_for: cherry
    timeout: 20s
    assert_screen: [Choose one, <Ok>]
  assert: { screen: { matches: "a\\s+apple", length: ">100" } }
- tui: { send_keys: [down, Down], styles: true, timeout: 20s }
  assert:
    json: { "$.runs[?@.text == 'c cherry'].bg": red, $.columns: 80, "$.runs[?@.text == 'Fruit'].fg": red }
- tui: { send_keys: [tab, enter], wait_exit: true, timeout: 20s, assert_screen: code 0 choice c, assert_absent: cherry }
  assert: { exit_code: 0 }
  capture: [{ name: code, source: exit_code }, { name: screen, source: screen }]
- tui:
    command: exec whiptail --yesno "Really?" 8 40
    wait_for: { matches: "<Yes>\\s+<No>" }
    timeout: 20s
  assert: { screen: Really? }
- tui: { send_keys: [right, enter], wait_exit: true, timeout: 20s }
  assert: { exit_code: 1 }
"#,
    )
    .await;
    all_hold(&seen);
    assert_eq!(seen.steps[2].captures[0].value, json!("0"));
    assert_eq!(
        text(&seen.steps[2]),
        "Screen of 80 columns and 24 rows:\ncode 0 choice c\nThe program ended with exit code 0\n"
    );
    let looks = "Most of it is black on white\nrow 5, column 38: \"Fruit\" is red on white\n\
        row 10, column 37: \"c cherry\" is white on red\n";
    assert!(text(&seen.steps[1]).ends_with(looks), "{}", text(&seen.steps[1]));
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_and_corners_of_old_terminals_are_seen() {
    let Some((house, running)) = sandbox("lines_and_corners_of_old_terminals").await else { return };
    let seen = watch(
        &running,
        r#"
- tui:
    command: exec whiptail --title Box --yesno "Really?" 8 40
    env: { TERM: vt100, LANG: C, LC_ALL: C, NCURSES_NO_UTF8_ACS: "1" }
    wait_for: <Yes>
    timeout: 20s
  assert: { screen: { matches: "┌─+.*Box.*─+┐", contains: "│", not_contains: lqqq } }
- tui: { command: exec cat, settle: 0s }
  assert: { screen: { equals: "" } }
"#,
    )
    .await;
    all_hold(&seen);
    assert!(seen.steps[1].duration_ms < 1_500, "{}", seen.steps[1].duration_ms);
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_written_with_an_editor() {
    let Some((house, running)) = sandbox("a_file_is_written_with_an_editor").await else { return };
    let seen = watch(
        &running,
        r#"
- tui: { command: nano --ignorercfiles /tmp/note.txt, wait_for: "New File", timeout: 20s }
  assert: { screen: "^X Exit" }
- tui: { send_text: "first line\rsecond", paste: " and\nthird", wait_for: third, timeout: 20s }
  assert: { screen: { contains: [first line, second and] } }
- tui: { size: { columns: 50, rows: 12 }, styles: true, wait_for: third, timeout: 20s }
  assert: { json: { $.columns: 50, $.rows: 12, "$.lines": { length: 12 }, $.cursor.row: 4 } }
- tui: { send_keys: [home, ctrl+k], wait_for: { gone: third }, timeout: 20s }
  assert: { screen: { not_contains: third } }
- tui: { send_keys: [ctrl+o], wait_for: "File Name to Write", timeout: 20s }
  assert: { screen: note.txt }
- tui: { send_key: enter, wait_for: { matches: "Wrote \\d lines" }, timeout: 20s }
  assert: { screen: Wrote 2 lines }
- tui: { send_key: CTRL+X, wait_exit: true, timeout: 20s }
  assert: { exit_code: 0 }
- exec: { command: cat /tmp/note.txt }
  assert: { stdout: { equals: "first line\nsecond and\n" } }
"#,
    )
    .await;
    all_hold(&seen);
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_filtered() {
    let Some((house, running)) = sandbox("a_list_is_filtered").await else { return };
    let seen = watch(
        &running,
        r#"
- tui:
    command: printf 'apple\nbanana\ncherry\n' | fzf --no-color >/tmp/picked
    wait_for: 3/3
    timeout: 20s
  assert: { screen: { contains: [apple, cherry] } }
- tui: { send_text: ana, wait_for: 1/3, timeout: 20s }
  assert: { screen: { contains: banana, not_contains: apple } }
- tui: { send_key: enter, wait_exit: true, timeout: 20s }
  assert: { exit_code: 0 }
- exec: { command: cat /tmp/picked }
  assert: { stdout: { equals: "banana\n" } }
- tui: { command: "printf 'a\\nb\\n' | fzf", wait_for: 2/2, timeout: 20s }
  assert: { screen: a }
- tui: { send_key: escape, wait_exit: true, timeout: 20s }
  assert: { exit_code: 130 }
"#,
    )
    .await;
    all_hold(&seen);
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_known_format_mean_the_same() {
    let Some((house, running)) = sandbox("files_of_the_known_format").await else { return };
    let scenario = read(
        r#"
id: known
setup:
  - exec: { command: echo hello >/tmp/greeting }
steps:
  - description: it greets
    tui: { command: "cat /tmp/greeting; read line; echo got $line; read key; exit 3", wait_for: hello }
    expect: a greeting
    capture: [{ name: screen, source: screen }]
  - tui: { send_key: x, send_text: "yz\r", wait_for: got, assert_screen: "got xyz", assert_absent: error }
  - tui: { send_key: Enter, timeout: 2s }
    expect: it ends
    capture: [{ name: code, source: exit_code }]
  - tui: { assert_screen: "{screen}", assert_absent: got }
"#,
    );
    let seen = play_on(&scenario, None, Some(&running as &dyn Shell), &SystemClock, "").await;
    let decided: Vec<_> = seen.steps.iter().map(|step| step.decided).collect();
    assert_eq!(
        decided,
        [StepDecision::Open, StepDecision::Held, StepDecision::Open, StepDecision::Failed],
        "{}",
        crate::scenario::told(&seen)
    );
    assert_eq!(seen.steps[2].captures[0].value, json!("3"));
    assert!(seen.steps[3].assertions[0].ok);
    let sent = seen.steps[1].sent.as_ref().unwrap();
    assert_eq!(sent.text, "key x\ntext yz\r\n");
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_pastes_questions_and_sizes() {
    let Some((house, running)) = sandbox("colours_pastes_questions_and_sizes").await else { return };
    let seen = watch(
        &running,
        r##"
- tui:
    command: |
      printf '\033]2;my tool\007\033[1;31mOK\033[0m \033[4;38;5;208mwarm\033[0m \033[7;38;2;1;2;3mback\033[0m\n'
      trap 'stty size' WINCH; stty -echo; stty size; while :; do read line || :; done
    size: { columns: 40, rows: 10 }
    env: { LANG: C }
    styles: true
    wait_for: "10 40"
  assert:
    json:
      "$.runs[?@.text == 'OK'].bold": true
      "$.runs[?@.text == 'OK'].fg": red
      "$.runs[?@.text == 'warm'].underline": true
      "$.runs[?@.text == 'warm'].fg": 208
      "$.runs[?@.text == 'back'].inverse": true
      "$.runs[?@.text == 'back'].fg": "#010203"
      $.title: my tool
  capture: [{ name: title, source: title }]
- tui: { size: { columns: 100, rows: 30 }, wait_for: "30 100" }
  assert: { screen: "10 40" }
- tui: { command: "stty raw -echo; printf '\\033[?2004h'; exec cat -v", paste: "two\nlines", wait_for: "201~" }
  assert: { screen: "^[[200~two^Mlines^[[201~" }
- tui: { send_keys: [alt+x, ctrl+left, f5, shift+tab], wait_for: "[Z" }
  assert: { screen: "^[x^[[1;5D^[[15~^[[Z" }
- tui:
    command: stty raw -echo; printf 'ab\033[6n'; head -c 6 | cat -v
    wait_exit: true
  assert: { screen: "^[[1;3R" }
"##,
    )
    .await;
    all_hold(&seen);
    assert_eq!(seen.steps[0].captures[0].value, json!("my tool"));
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_pressed_one_after_the_other() {
    let Some((house, running)) = sandbox("keys_are_pressed_one_after_the_other").await else { return };
    let seen = watch(
        &running,
        r#"
- tui:
    command: "stty -icanon -echo; exec perl -e '$| = 1; while (sysread(STDIN, $k, 64)) { print \"<$k>\" }'"
    settle: 300ms
    timeout: 20s
  expect: it reads
- tui: { send_keys: [a, b, c, d, e, f, ~], wait_for: <~>, timeout: 20s }
  assert: { screen: <a><b><c><d><e><f><~> }
"#,
    )
    .await;
    assert_eq!(seen.steps[1].decided, StepDecision::Held, "{}", crate::scenario::brief(&seen.steps[1]));
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_do_not_fit_into_the_timeout_are_an_error_and_not_typed_at_once() {
    let Some((house, running)) = sandbox("keys_that_do_not_fit_into_the_timeout").await else { return };
    let keys = |count: usize| vec!["a"; count].join(", ");
    let started = r#"{ command: "stty -icanon -echo; while k=$(dd bs=64 count=1 2>/dev/null); do printf '<%s>' \"$k\"; done""#;
    let written = format!(
        "
- tui: {started}, settle: 300ms, timeout: 20s }}
  expect: it reads
- tui: {{ send_keys: [{many}], timeout: 1s }}
  expect: nothing is typed
- tui: {{ send_keys: [b], wait_for: <b>, timeout: 20s }}
  assert: {{ screen: {{ equals: <b> }} }}
- tui: {{ send_keys: [escape, {few}], settle: 900ms, timeout: 1s }}
  expect: the pause behind escape leaves no time for the rest
- tui: {{ send_keys: [{escapes}, a], settle: 100ms, timeout: 2s }}
  expect: the pauses behind escape are counted
- tui: {{ send_keys: [escape, escape, c], settle: 100ms, wait_for: <c>, timeout: 10s }}
  expect: they fit
- tui: {{ command: 'sleep 0.3; while :; do echo x; sleep 0.05; done', send_keys: [a, a], settle: 200ms, timeout: 1s }}
  expect: it leaves no time to type
",
        many = keys(180),
        few = keys(5),
        escapes = ["escape"; 10].join(", "),
    );
    let seen = watch(&running, &written).await;
    let error = |step: usize| seen.steps[step].error.as_deref().unwrap_or_default();
    assert_eq!(
        error(1),
        "the `timeout` of 1s is too short to type 180 keys, which take at least 5370ms: nothing was typed; raise it, or type less in one step"
    );
    assert_eq!(seen.steps[2].decided, StepDecision::Held, "{}", crate::scenario::brief(&seen.steps[2]));
    assert!(error(3).starts_with("the `timeout` of 1s is too short to type"), "{}", error(3));
    assert!(!text(&seen.steps[3]).contains("aa"), "{}", error(3));
    assert_eq!(
        error(4),
        "the `timeout` of 2s is too short to type 11 keys, which take at least 4s: nothing was typed; raise it, or type less in one step"
    );
    assert_eq!(seen.steps[5].error, None, "{}", crate::scenario::brief(&seen.steps[5]));
    // Each escape forms a sequence with the `>` after it.
    assert!(text(&seen.steps[5]).contains("<b><<<c>"), "{}", text(&seen.steps[5]));
    assert!(error(6).contains("nothing was typed"), "{}", error(6));
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_settles_is_looked_at_all_the_same() {
    let Some((house, running)) = sandbox("one_that_never_settles").await else { return };
    let seen = watch(
        &running,
        r#"
- tui: { command: yes, timeout: 2s }
  assert: { screen: { matches: "^y\ny\n" } }
- tui: { send_key: ctrl+c, wait_exit: true, timeout: 20s }
  assert: { exit_code: 130 }
- tui: { command: top -d 0.1, wait_for: PID, timeout: 3s }
  assert: { screen: COMMAND }
- tui: { settle: 0s, assert_screen: load average }
- tui: { send_key: q, wait_exit: true, timeout: 20s }
  assert: { exit_code: 0 }
- tui: { command: "printf '\\033]2;'; exec yes", timeout: 500ms }
  assert: { screen: { length: "<2000" } }
- tui: { command: "stty -echo; exec yes $(printf '\\033[6n')", timeout: 500ms, settle: 1s }
  assert: { screen: { length: 0 } }
"#,
    )
    .await;
    all_hold(&seen);
    assert!(text(&seen.steps[0]).ends_with("The screen had not settled after 2s\n"));
    assert_eq!(seen.steps[0].observed.as_ref().unwrap().parts["settled"], false);
    assert_eq!(seen.steps[0].observed.as_ref().unwrap().parts["exit_code"], json!(null));
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_said() {
    let Some((house, running)) = sandbox("what_goes_wrong_is_said").await else { return };
    let seen = watch(
        &running,
        r#"
- { tui: { send_key: enter }, expect: x }
- { tui: { command: "echo here; exec cat", wait_for: there, timeout: 300ms }, expect: x }
- { tui: { wait_exit: true, timeout: 300ms }, expect: x }
- { tui: { command: "echo out; exit 7", wait_for: { matches: "in+" } }, expect: x }
- { tui: { send_text: more }, expect: x }
- { tui: { command: "kill -9 $$", wait_exit: true }, assert: { exit_code: 137 } }
- { tui: { command: no-such-program, wait_exit: true }, assert: { exit_code: 127, screen: not found } }
"#,
    )
    .await;
    let errors: Vec<_> = seen.steps[..5].iter().map(|step| step.error.as_deref().unwrap()).collect();
    assert_eq!(
        errors,
        [
            "no program has been started: give a `command` in this step or an earlier one",
            "`there` did not appear on the screen within 300ms",
            "the program did not end within 300ms",
            "nothing that matches `in+` appeared on the screen before the program ended with exit code 7",
            "nothing can be typed: the program ended with exit code 7",
        ]
    );
    assert!(text(&seen.steps[1]).contains("here"));
    assert_eq!(
        (seen.steps[5].decided, seen.steps[6].decided),
        (StepDecision::Held, StepDecision::Held),
        "{}",
        crate::scenario::told(&seen)
    );
    house.runtimes.stop(&running).await;
}

/// A program that ignores signals, with children in other sessions.
fn stubborn(nap: &str) -> String {
    format!("trap '' TERM HUP INT; setsid {nap} & {nap} & echo up; {nap}; {nap}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_program_that_ignores_signals() {
    let Some((house, running)) = sandbox("nothing_is_left").await else { return };
    let nap = format!("sleep 66{}", std::process::id());
    let line = stubborn(&nap);
    let seen = watch(
        &running,
        &format!(
            "- {{ tui: {{ command: \"{line}\", wait_for: up, timeout: 20s }}, assert: {{ screen: up }} }}"
        ),
    )
    .await;
    all_hold(&seen);
    assert_eq!(processes_with(&nap), Vec::<String>::new());
    let both = format!(
        "- {{ tui: {{ command: \"{line}\", wait_for: up }}, assert: {{ screen: up }} }}\n- {{ tui: {{ command: \"ps ax\", wait_exit: true, size: {{ columns: 200, rows: 50 }} }}, assert: {{ screen: {{ not_contains: {nap} }} }} }}"
    );
    all_hold(&watch(&running, &both).await);
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_given_up_ends_its_program() {
    let Some((house, running)) = sandbox("a_step_that_is_given_up_ends_its_program").await else { return };
    let run = |line: &str| {
        let spec = ExecSpec::shell(line, std::time::Duration::from_secs(30));
        let running = running.clone();
        async move { running.exec(spec).await.unwrap() }
    };
    assert_eq!(run("mkfifo /tmp/up /tmp/alive").await.exit_code, Some(0));
    // All descendants keep the pipe open; its reader ends with the last one.
    let line = format!("exec 9>/tmp/alive; echo up >/tmp/up; {}", stubborn("sleep 5555"));
    let scenario =
        steps(&format!("- {{ tui: {{ command: \"{line}\", wait_for: never, timeout: 1h }}, expect: x }}"));
    let shell = running.clone();
    let player =
        tokio::spawn(
            async move { play_on(&scenario, None, Some(&shell as &dyn Shell), &SystemClock, "").await },
        );
    let last = tokio::spawn(run("cat /tmp/alive"));
    assert_eq!(run("cat /tmp/up").await.stdout, b"up\n");
    player.abort();
    assert_eq!(last.await.unwrap().exit_code, Some(0));
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_in_a_container() {
    let Some(house) = house(RuntimeKind::Docker, "programs_in_a_container").await else { return };
    let spec = ServiceSpec { ready: ReadinessCheck::None, ..ServiceSpec::new("busybox:latest", house.tag()) };
    let running = house.runtimes.start(&spec).await.unwrap();
    let nap = format!("sleep 44{}", std::process::id());
    let line = stubborn(&nap);
    let seen = watch(
        &running,
        &format!(
            r#"
- tui: {{ command: vi /tmp/note, size: {{ columns: 60, rows: 15 }}, wait_for: /tmp/note, timeout: 20s }}
  assert: {{ screen: "~" }}
- tui: {{ send_key: i, send_text: hello from vi, wait_for: hello from vi, timeout: 20s }}
  assert: {{ screen: hello }}
- tui: {{ send_keys: [escape, ":", w, q, enter], wait_exit: true, timeout: 20s }}
  assert: {{ exit_code: 0 }}
- exec: {{ command: cat /tmp/note }}
  assert: {{ stdout: {{ equals: "hello from vi\n" }} }}
- tui: {{ command: "trap 'stty size' WINCH; stty size; while :; do read line || :; done", wait_for: "24 80", timeout: 20s }}
  assert: {{ screen: "24 80" }}
- tui: {{ size: {{ columns: 90, rows: 20 }}, wait_for: "20 90", timeout: 20s }}
  assert: {{ screen: "20 90" }}
- tui: {{ command: top -d 1, wait_for: COMMAND, timeout: 20s, settle: 0s }}
  assert: {{ screen: PID }}
- tui: {{ send_key: q, wait_exit: true, timeout: 20s }}
  assert: {{ exit_code: 0 }}
- tui: {{ command: "read x; exit 9", send_key: ctrl+p, send_text: "\r", wait_exit: true, timeout: 20s }}
  assert: {{ exit_code: 9 }}
- tui: {{ command: "{line}", wait_for: up, timeout: 20s }}
  assert: {{ screen: up }}
"#
        ),
    )
    .await;
    house.runtimes.stop(&running).await;
    all_hold(&seen);
    assert_eq!(processes_with(&nap), Vec::<String>::new());
}

#[tokio::test]
async fn a_service_without_a_terminal_says_so() {
    let shell = LocalShell { clock: QuickClock::default() };
    let seen =
        play(&steps("- { tui: { command: ls, timeout: 1h }, expect: x }"), None, Some(&shell), "").await;
    let error = seen.steps[0].error.as_deref();
    assert_eq!(error, Some("the command could not be run: it has no terminal"));
}

#[test]
fn mistakes_are_found_while_reading() {
    for (step, wanted) in [
        ("{ tui: {} }", "`tui` has no action"),
        ("{ tui: { comand: x } }", "`tui` has no key `comand`"),
        ("{ tui: { command: '' } }", "`command` is empty"),
        ("{ tui: { send_key: entre } }", "`entre` is not a key"),
        ("{ tui: { send_keys: [a, hyper+b] } }", "`hyper+b` is not a key"),
        ("{ tui: { size: { columns: 80 } } }", "`rows` is missing: `size` needs it"),
        ("{ tui: { size: { columns: 1, rows: 9 } } }", "`columns` is a whole number from 2 to 1000"),
        ("{ tui: { wait_for: { matches: '(' } } }", "invalid regular expression"),
        ("{ tui: { wait_for: { text: a } } }", "`wait_for` has no key `text`"),
        ("{ tui: { wait_for: { gone: a, matches: b } } }", "`wait_for` is a text, or has one of"),
        ("{ tui: { wait_exit: maybe } }", "`wait_exit` is true or false, not text"),
        ("{ tui: { command: x, timeout: 5 } }", "`timeout` is not a duration"),
        ("{ tui: { command: x }, assert: { stdout: x } }", "answers to `tui` steps have no `stdout`"),
    ] {
        let (.., complaints) = load(vec![("x".into(), format!("id: x\nsteps:\n- {step}\n"))]);
        assert!(complaints.iter().any(|c| c.message.starts_with(wanted)), "{step}: {complaints:#?}");
    }
    let (.., complaints) =
        load(vec![("x".into(), "id: x\nsteps:\n- { tui: { command: x, assert_screen: y } }\n".into())]);
    assert!(complaints.is_empty(), "it is decided without a judge: {complaints:#?}");
}
