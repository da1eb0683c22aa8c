//! Secrets that are written as numbers, and texts that only look like that.

use base64::Engine as _;

use super::*;

const KEY: &str = "tok-Zq9#vB7!mX2kLr";

/// Output of programs for `T=`, the key, ` x` and a line break.
const DUMPS: [&str; 13] = [
    // od -tx1 -tc
    "0000000  54  3d  74  6f  6b  2d  5a  71  39  23  76  42  37  21  6d  58\n          T   =   t   o   k   -   Z   q   9   #   v   B   7   !   m   X\n0000020  32  6b  4c  72  20  78  0a\n          2   k   L   r       x  \\n\n0000027\n",
    // od -A x -t x1c
    "000000  54  3d  74  6f  6b  2d  5a  71  39  23  76  42  37  21  6d  58\n         T   =   t   o   k   -   Z   q   9   #   v   B   7   !   m   X\n000010  32  6b  4c  72  20  78  0a\n         2   k   L   r       x  \\n\n000017\n",
    // od -a
    "0000000   T   =   t   o   k   -   Z   q   9   #   v   B   7   !   m   X\n0000020   2   k   L   r  sp   x  nl\n0000027\n",
    // od -tu2
    "0000000 15700 28532 11627 29018  9017 17014  8503 22637\n0000020 27442 29260 30752    10\n0000027\n",
    // od -td4
    "0000000  1869888852  1901735275  1115038521  1483546935\n0000020  1917610802      686112\n0000027\n",
    // od -tu8
    "0000000  8167890813644455252  6371785569021076281\n0000020     2946830519003954\n0000027\n",
    // od -tfF
    "0000000   7.5588484e+28   1.0803622e+30       61.534397  1.04290765e+15\n0000020     4.04893e+30     9.61448e-40\n0000027\n",
    // od -tfD
    "0000000  1.0653773087589941e+238   9.182164544990907e+117\n0000020  1.4559277235563843e-308\n0000027\n",
    // od -tx2 -ta -td1
    "0000000      3d54      6f74      2d6b      715a      2339      4276      2137      586d\n           T    =    t    o    k    -    Z    q    9    #    v    B    7    !    m    X\n          84   61  116  111  107   45   90  113   57   35  118   66   55   33  109   88\n0000020      6b32      724c      7820      000a\n           2    k    L    r   sp    x   nl\n          50  107   76  114   32  120   10\n0000027\n",
    // od -An -tx1 -tc
    "  54  3d  74  6f  6b  2d  5a  71  39  23  76  42  37  21  6d  58\n   T   =   t   o   k   -   Z   q   9   #   v   B   7   !   m   X\n  32  6b  4c  72  20  78  0a\n   2   k   L   r       x  \\n\n",
    // od -An -c
    "   T   =   t   o   k   -   Z   q   9   #   v   B   7   !   m   X\n   2   k   L   r       x  \\n\n",
    // hexdump -d
    "0000000   15700   28532   11627   29018   09017   17014   08503   22637\n0000010   27442   29260   30752   00010                                \n0000017\n",
    // hexdump -ve '1/4 "%u "'
    "1869888852 1901735275 1115038521 1483546935 1917610802 686112 ",
];

fn listed(between: &str, write: impl Fn(u8) -> String) -> String {
    KEY.bytes().map(write).collect::<Vec<_>>().join(between)
}

/// Checks that `form` is masked in the middle of text, also as JSON.
fn is_masked(redactor: &Redactor, form: &str) {
    let text = format!("before\n{form}\nafter");
    let shown = redactor.redact(&text).unwrap_or_default();
    let is_whole = shown.starts_with("before") && shown.ends_with("after");
    assert!(is_whole && shown.contains("***") && shown.len() < 80, "{form} → {shown}");
    let json = serde_json::to_string(&text).unwrap();
    assert!(redactor.redact(&json).is_some_and(|shown| shown.len() < 90), "{json}");
}

#[test]
fn what_dumps_print_of_a_secret_is_found_in_every_format() {
    let redactor = Redactor::new([KEY]);
    for dump in DUMPS {
        is_masked(&redactor, dump);
        is_masked(&redactor, &dump.replace('\n', "\r\n"));
    }
}

#[test]
fn a_list_of_numbers_is_found_however_they_are_written() {
    let redactor = Redactor::new([KEY]);
    for between in [".", "-", "/", "_", " | ", " ", "\n", "</b><b>", ")+chr(", "::"] {
        is_masked(&redactor, &listed(between, |byte| byte.to_string()));
        is_masked(&redactor, &listed(between, |byte| format!("{byte:o}")));
        is_masked(&redactor, &listed(between, |byte| format!("{byte:b}")));
        is_masked(&redactor, &listed(between, |byte| format!("{byte:#x}")));
    }
    let writings: [&dyn Fn(u8) -> String; 15] = [
        &|byte| format!("{byte:#b}"),
        &|byte| format!("+{byte}"),
        &|byte| format!("{byte}.0"),
        &|byte| format!("{byte}u8"),
        &|byte| format!("{byte}i32"),
        &|byte| format!("{byte}, 0"),
        &|byte| format!("0, {byte}"),
        &|byte| format!("U+{byte:04X}"),
        &|byte| format!("{byte:X}h"),
        &|byte| format!("${byte:X}"),
        &|byte| format!("0x{byte:08x}"),
        &|byte| format!("&#{byte}"),
        &|byte| format!("%u{byte:04x}"),
        &|byte| format!("'{}': {byte}", char::from(byte)),
        &|byte| format!("{byte} '{}'", char::from(byte)),
    ];
    for write in writings {
        is_masked(&redactor, &listed(", ", write));
    }
    is_masked(&redactor, &format!("E'\\{}'", listed("\\", |byte| format!("{byte:o}"))));
    let each = |write: &dyn Fn(usize, u8) -> String| {
        KEY.bytes().enumerate().map(|(at, byte)| write(at, byte)).collect::<Vec<_>>().concat()
    };
    is_masked(&redactor, &each(&|at, byte| format!("\"{at}\": {byte}, ")));
    is_masked(&redactor, &each(&|at, byte| format!("byte[{at}] = {byte:#x}\n")));
    for run in [
        listed("", |byte| format!("{byte:03}")),
        listed("", |byte| format!("{byte:03o}")),
        listed("", |byte| format!("{byte:08b}")),
    ] {
        is_masked(&redactor, &run);
    }
}

#[test]
fn words_of_bytes_are_found_in_both_orders() {
    let redactor = Redactor::new([KEY]);
    for width in [2, 4, 8] {
        let value = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let turned = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        for read in [value as fn(&[u8]) -> u64, turned] {
            let words: Vec<u64> = KEY.as_bytes().chunks(width).map(read).collect();
            let all = |write: &dyn Fn(&u64) -> String| words.iter().map(write).collect::<Vec<_>>().join(", ");
            is_masked(&redactor, &all(&u64::to_string));
            is_masked(&redactor, &all(&|word| format!("{word:#x}")));
            is_masked(&redactor, &all(&|word| format!("{word:o}")));
        }
    }
}

#[test]
fn characters_beyond_ascii_are_found_as_numbers() {
    let key = "grün-密-Zq9#vB";
    let redactor = Redactor::new([key]);
    let codes = key.chars().map(|c| u32::from(c).to_string()).collect::<Vec<_>>().join(", ");
    let signed = key.bytes().map(|byte| byte.cast_signed().to_string()).collect::<Vec<_>>().join(", ");
    for form in [codes, signed] {
        is_masked(&redactor, &form);
    }
}

/// Pseudo-random numbers, the same in each run.
fn noise() -> impl Iterator<Item = u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
}

#[test]
fn other_numbers_and_dumps_stay() {
    let redactor = Redactor::new([KEY, "hunter2-hunter2", "a1b2c3", "4711-0815-3"]);
    let bytes: Vec<u8> = noise().take(30_000).collect();
    let all = |write: &dyn Fn(&u8) -> String, between: &str| {
        bytes.iter().map(write).collect::<Vec<_>>().join(between)
    };
    for text in [
        all(&u8::to_string, ", "),
        all(&|byte| format!("{byte:o}"), " "),
        all(&|byte| format!("{byte:b}"), "\n"),
        all(&|byte| format!("{byte:02x}"), " "),
        all(&|byte| format!("{byte:02x}"), ""),
        base64::engine::general_purpose::STANDARD.encode(&bytes),
        "2026-11-30T18:51:49.116Z GET /items/111?page=107 200 45 90 113 56 35\n".repeat(300),
        "0000000 116 111 107 45 90 113 56 35 118 66\n".to_owned(),
        "  t   o   k   -   Z   q   8   #   v   B   7   !\n".to_owned(),
    ] {
        let shown = redactor.redact(&text);
        assert_eq!(shown, None, "{}", text.chars().take(80).collect::<String>());
    }
}

#[test]
fn numbers_far_from_a_cut_are_no_part_of_a_secret() {
    let redactor = Redactor::new([KEY]);
    let text = format!("116 111 107 45 {}\n… 9 bytes left out …\n", "other words ".repeat(60));
    assert_eq!(redactor.redact(&text), None);
    let shown = redactor.redact("ids 116, 111, 107, 45, 9\n… 9 bytes left out …\n");
    assert_eq!(shown.as_deref(), Some("ids ***\n… 9 bytes left out …\n"));
}
