//! How a program reads the input of `tui` steps, and how long failing steps take.

use super::tui::{all_hold, sandbox, watch};

/// Shows each key that it reads as one word. Escape is a key by itself if nothing follows within 50 ms;
/// otherwise it begins a code or is `alt` with the next key.
const KEYS: &str = r#"
import os, select, sys, tty
tty.setraw(0)
def key(patience):
    return os.read(0, 1).decode() if select.select([0], [], [], patience)[0] else ""
sys.stdout.write("ready\r\n")
sys.stdout.flush()
while True:
    one = key(30)
    if one == "":
        break
    if one == "\x1b":
        next = key(0.05)
        one = "ESC" if next == "" else "ALT-" + next if next not in "[O" else "CODE"
        while one == "CODE" and (last := key(0.05)) and not last.isalpha():
            pass
    sys.stdout.write(one + " ")
    sys.stdout.flush()
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escape_is_a_key_however_it_is_typed() {
    let Some((house, running)) = sandbox("escape_is_a_key_however_it_is_typed").await else { return };
    let script = KEYS.replace('\n', "\n        ");
    let text = format!(
        r#"
- exec:
    command: "true"
    files:
      /tmp/keys.py: |
        {script}
  assert: {{ exit_code: 0 }}
- tui: {{ command: exec python3 /tmp/keys.py, wait_for: ready, timeout: 20s }}
  assert: {{ screen: ready }}
- tui: {{ send_keys: ["ctrl+[", g, escape, h, up, i], timeout: 20s }}
  assert: {{ screen: "ESC g ESC h CODE i" }}
- tui: {{ send_text: "j\x1b:w\x1b\x1bk", timeout: 20s }}
  assert: {{ screen: "j ESC : w ESC ESC k" }}
- tui: {{ send_text: "\x1b[A\x1bOP\x1b[1;5D", timeout: 20s }}
  assert: {{ screen: "k CODE CODE CODE" }}
- tui: {{ send_keys: ["alt+x", y], send_text: "l\x1b", paste: m, timeout: 20s }}
  assert: {{ screen: "ALT-x y l ESC m" }}
"#
    );
    all_hold(&watch(&running, &text).await);
    house.runtimes.stop(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_on_which_something_is_missing_waits_for_no_end_of_the_program() {
    let Some((house, running)) = sandbox("a_screen_on_which_something_is_missing").await else { return };
    let step = "- { tui: { wait_for: never, timeout: 100ms }, expect: x }\n";
    let text = format!("- {{ tui: {{ command: cat, timeout: 20s }}, expect: x }}\n{}", step.repeat(6));
    let seen = watch(&running, &text).await;
    for step in &seen.steps[1..] {
        let error = step.error.as_deref();
        assert_eq!(error, Some("`never` did not appear on the screen within 100ms"));
    }
    // A failing step must not wait two seconds more.
    assert!(seen.duration_ms < 10_000, "{} ms", seen.duration_ms);
    house.runtimes.stop(&running).await;
}
