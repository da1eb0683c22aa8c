//! Secrets that commands and programs in a terminal show in another form.

use std::fmt::Write as _;

use super::{PAGES, Site, served};
use crate::binary::{Project, Ran};
use crate::recorded::there;

const TOKEN: &str = "tok-Zq9#vB7!mX2kLr";

/// Shows the secret in a terminal, in the way that its argument names. The source does not contain the
/// secret in one piece.
const SCREENS: &str = "import sys, time
S = 'tok-Zq9' + '#vB7!' + 'mX2kLr'
way = sys.argv[1]
lines = {
    'box': ['┌ log ─┐ ┌ b ┐'] + ['│ %s │ │ x │' % S[i:i + 6] for i in range(0, 18, 6)] + ['└──────┘ └───┘'],
    'indent': ['Token: ' + S[:9], '       ' + S[9:]],
    'scroll': ['line'] * 8 + ['token is ' + S, 'zz', 'yy'],
    'colours': ['line'] * 8 + ['token is ' + ''.join('\\x1b[3%dm%s' % (i % 7 + 1, c) for i, c in enumerate(S)) + '\\x1b[0m', 'zz', 'yy'],
    'hex': ['line'] * 8 + [' '.join('%02x' % ord(c) for c in S), 'zz'],
    'dump': ['00000000  %s  |%s|' % (' '.join('%02x' % ord(c) for c in S[:16]), S[:16]), '00000010  4c 72  |Lr|'],
}[way]
sys.stdout.write('\\r\\n'.join(lines) + '\\r\\nready')
sys.stdout.flush()
time.sleep(20)
";

/// Parts of the secret that no report may contain.
const PARTS: [&str; 8] = ["tok-", "Zq9", "-Zq", "9#v", "vB7", "7!m", "mX2", "2kLr"];

fn project() -> (Project, Site) {
    let mut cases = "id: masked\nsteps:\n".to_owned();
    for (way, columns, rows) in [
        ("box", 40, 10),
        ("indent", 40, 10),
        ("scroll", 12, 5),
        ("colours", 12, 5),
        ("hex", 12, 5),
        ("dump", 40, 8),
    ] {
        for styles in [false, true] {
            let _ = write!(
                cases,
                "  - description: {way}
    tui:
      command: python3 tui.py {way}
      size: {{ columns: {columns}, rows: {rows} }}
      wait_for: ready
      styles: {styles}
    capture: [{{ name: seen_{way}_{styles}, source: screen }}]
    assert: {{ screen: {{ contains: another text }} }}
"
            );
        }
    }
    cases += "  - description: numbers
    request: { method: GET, path: /numbers.json }
    capture: [{ name: numbers, jsonpath: $.data }, { name: names, jsonpath: $.names }]
    assert: { json: { $.data: 7, $.others: [116, 111, 107, 1, 2, 3] } }
  - description: a path
    request: { method: GET, path: '//ann77:pa55XX9999@127.0.0.1:9/x' }
    assert: { body: { contains: another text } }
";
    let bytes: Vec<u8> = TOKEN.bytes().collect();
    let names: Vec<String> = bytes.iter().enumerate().map(|(at, byte)| format!("\"{at}\": {byte}")).collect();
    let numbers = format!(
        "{{\"data\": {bytes:?}, \"names\": {{{}}}, \"others\": [116, 111, 107, 1, 2, 3]}}",
        names.join(", ")
    );
    served(
        &[
            PAGES.as_slice(),
            &[("cases/masked.yaml", &cases), ("tools/tui.py", SCREENS), ("site/numbers.json", &numbers)],
        ]
        .concat(),
    )
}

fn run(project: &Project, url: &str) -> Ran {
    let words = ["--no-judge", "--format", "json", "--service-dir", "tools", "--authorization", "MY_TOKEN"];
    project.run(&[&["validate", "--scenarios", "cases", "--target", url], words.as_slice()].concat())
}

#[test]
fn parts_of_a_secret_on_a_screen_and_lists_of_its_bytes_are_not_shown() {
    if !there("process", "parts_of_a_secret_on_a_screen_and_lists_of_its_bytes_are_not_shown") {
        return;
    }
    let (project, site) = project();
    let ran = run(&project.env("MY_TOKEN", TOKEN), &site.url).exits(4);
    for part in PARTS.into_iter().chain(["90, 113", "90,113", "6b 2d", "23 76", "pa55XX", "ann77"]) {
        let at = ran.stdout.find(part).unwrap_or_default();
        let around: String = ran.stdout[at..].chars().take(120).collect();
        assert!(!ran.stdout.contains(part), "{part}: {around}");
    }
    let report = ran.json();
    let steps = report["scenarios"][0]["steps"].as_array().unwrap();
    let screen = |n: usize| steps[n]["captures"][0]["value"].as_str().unwrap().to_owned();
    assert_eq!(
        screen(0),
        "┌ log ─┐ ┌ b ┐\n│ *** │ │ x │\n│ *** │ │ x │\n│ *** │ │ x │\n└──────┘ └───┘\nready"
    );
    assert_eq!(screen(2), "Token: ***\n       ***\nready");
    assert_eq!(screen(4), "***\n\nzz\nyy\nready");
    let failures = steps[12]["failures"].to_string();
    assert!(failures.contains("[***]") && !failures.contains("others"), "{failures}");
}
