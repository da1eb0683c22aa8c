//! Secrets on the screen of a terminal, whole and in part.

use super::*;

const KEY: &str = "tok-Zq9#vB7!mX2kLr";

/// `screen` with masks, where its lines are wrapped at `width`.
fn shown_with(redactor: &Redactor, screen: &str, width: usize) -> String {
    let mut wraps = Vec::new();
    let mut at = 0;
    for row in screen.split('\n') {
        at += row.len() + 1;
        if row.chars().count() == width {
            wraps.push(at - 1);
        }
    }
    let mut shown = screen.to_owned();
    for (from, to) in redactor.on_screen(screen, &wraps).into_iter().rev() {
        shown.replace_range(from..to, "***");
    }
    shown
}

fn shown(screen: &str) -> String {
    shown_with(&Redactor::new([KEY]), screen, 0)
}

#[test]
fn a_value_in_a_frame_or_with_an_indentation_is_found() {
    for (screen, masked) in [
        ("│ tok-Zq │\n│ 9#vB7! │\n│ mX2kLr │", "│ *** │\n│ *** │\n│ *** │"),
        (
            "| tok-Zq9 | ok |\n| #vB7!mX | no |\n| 2kLr    |    |",
            "| *** | ok |\n| *** | no |\n| ***    |    |",
        ),
        ("+------+\n|tok-Zq|\n|9#vB7!|\n|mX2kLr|", "+------+\n|***|\n|***|\n|***|"),
        ("Token: tok-Zq9#v\n       B7!mX2kLr", "Token: ***\n       ***"),
        (
            "┌ log ──────┐ ┌ other ┐\n│ is tok-Zq │ │ one   │\n│ 9#vB7!mX2 │ │ two   │\n│ kLr. done │ │ three │",
            "┌ log ──────┐ ┌ other ┐\n│ is *** │ │ one   │\n│ *** │ │ two   │\n│ ***. done │ │ three │",
        ),
        ("> tok-Zq9#\n> vB7!mX2kLr", "> ***\n> ***"),
        ("  1 tok-Zq9#v\\\n    B7!mX2kLr", "  1 ***\\\n    ***"),
    ] {
        assert_eq!(shown(screen), masked);
    }
}

#[test]
fn what_is_left_of_a_value_that_has_scrolled_is_found() {
    for (screen, masked) in [
        ("-Zq9#vB7!mX2\nkLr\nzz\nyy", "***\nzz\nyy"),
        ("X2kLrx\nB7!mX2kLr ok", "X2kLrx\n*** ok"),
        ("┌ log ┐\n│ #vB7!mX │\n│ 2kLr    │", "┌ log ┐\n│ *** │\n│ ***    │"),
        ("more\nthe token is tok-Zq9#v", "more\nthe token is ***"),
        ("name   tok-Zq9#  │ ok\n", "name   ***  │ ok\n"),
        ("6b 2d 5a 71\n39 23 76 42\n37 21 6d 58\n32 6b 4c 72\n$", "***\n$"),
        ("107, 45, 90, 113, 57, 35, 118, 66, 55, 33, 109, 88, 50, 107, 76, 114\n$", "***\n$"),
        ("Wg5I3ZCNyFtWDJrTHI=\n$", "Wg5I3ZCNyFtWDJrTHI=\n$"),
    ] {
        assert_eq!(shown(screen), masked);
    }
    let long = (0..40).map(|n| format!("abcDEF{n:03}xyzQ")).collect::<Vec<_>>().concat();
    let redactor = Redactor::new([long.as_str()]);
    let rows = |from: usize, to: usize| {
        let chars: Vec<char> = long[from..to].chars().collect();
        chars.chunks(80).map(|row| row.iter().collect::<String>()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(shown_with(&redactor, &format!("{}\nlog 1", rows(73, 520)), 80), "***\nlog 1");
    assert_eq!(
        shown_with(&redactor, &format!("{}\n:", rows(160, 400)), 80),
        "***\n***\n***\n:",
        "only the middle"
    );
}

#[test]
fn a_dump_that_a_terminal_wraps_is_found() {
    let redactor = Redactor::new([KEY]);
    let screen = "00000000  74 6f 6b 2d 5a 71 39 23  76 42\n 37 21 6d 58 32 6b  |tok-Zq9#vB7!mX2k\n|\n00000010  4c 72                           \n                  |Lr|\n$ ls";
    let screen = screen.replace("mX2k\n|", "mX2k|");
    let rows: Vec<&str> = screen.split('\n').collect();
    let line = format!("{}{}", rows[0], rows[1]);
    let chars: Vec<char> = line.chars().collect();
    let wrapped = chars.chunks(40).map(|row| row.iter().collect::<String>()).collect::<Vec<_>>().join("\n");
    let screen = format!("{wrapped}\n00000010  4c 72\n$ ls");
    assert_eq!(shown_with(&redactor, &screen, 40), "***\n$ ls");
}

#[test]
fn words_and_short_parts_on_a_screen_stay() {
    let redactor = Redactor::new([
        KEY,
        "super-secret-password",
        "https://hooks.example/T0/B0/x9Yz-w81",
        "a-long-service",
    ]);
    for screen in [
        "kLr\n2kLr\nX2kL",
        "password: ____\nservice started\nsuper",
        "see https://hooks.example\nhttps://",
        "tok\ntok-\ntoken",
        "│ tok │ 9#v │\n│ kLr │ tok │",
        "tok-Zq 9#vB7! mX2kLr.",
    ] {
        assert_eq!(shown_with(&redactor, screen, 0), screen);
    }
}
