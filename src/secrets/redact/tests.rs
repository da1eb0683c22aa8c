mod numbers;
mod screen;

use base64::Engine as _;

use super::forms::{hex, padded_base64, utf16};
use super::*;

const KEY: &str = "sk-live+key/with?\"marks\" & ünï";

fn redact(text: &str) -> String {
    Redactor::new([KEY]).redact(text).unwrap_or_else(|| text.to_owned())
}

fn hexed(with: &str, between: &str) -> String {
    KEY.bytes().map(|byte| format!("{with}{byte:02x}")).collect::<Vec<_>>().join(between)
}

#[test]
fn every_common_encoding_is_found() {
    let standard = base64::engine::general_purpose::STANDARD;
    let encoded = |text: &str| standard.encode(text);
    let wrapped = |text: &str| {
        let letters: Vec<char> = text.chars().collect();
        letters.chunks(20).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\n")
    };
    let json = serde_json::to_string(KEY).unwrap();
    let html = KEY.replace('&', "&amp;").replace('"', "&quot;").replace('ü', "&#252;").replace('ï', "&#xEF;");
    let form: String = form_urlencoded::byte_serialize(KEY.as_bytes()).collect();
    let all = [
        KEY.to_owned(),
        serde_json::to_string(&json).unwrap(),
        json,
        html,
        form.replace('%', "%25"),
        form.replace('+', "%20").to_ascii_lowercase(),
        form,
        "sk-live+key\\/with?\\\"marks\\\" & \\u00fcn\\u00EF".to_owned(),
        hexed("", ""),
        hexed("", "").to_uppercase(),
        hexed("", ":"),
        hexed("0x", ", "),
        hexed("\\x", ""),
        hexed("%", ""),
        hexed("\\u00", ""),
        encoded(KEY),
        encoded(&format!("x:{KEY}")),
        encoded(&format!("me:{KEY}")),
        wrapped(&encoded(&format!("{{\"token\": \"{KEY}\", \"more\": 1}}"))),
        wrapped(&encoded(KEY)).replace('\n', "\\n"),
        encoded(KEY).replace('+', "%2B").replace('/', "%2F"),
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(KEY),
        encoded(&encoded(KEY)),
    ];
    for form in all {
        let shown = redact(&format!("Authorization: {form}, end"));
        let left = shown.replace("Authorization: ", "").replace(", end", "");
        assert!(left.contains("***"), "{form} → {shown}");
        assert!(left.len() < 24 || form.starts_with("eyJ0b2tlbi"), "{form} → {shown}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_looked_at_too() {
    let redactor = Redactor::new([KEY, "plain-ascii/+12"]);
    let shown = |bytes: &[u8]| redactor.redact_bytes(bytes).unwrap_or_else(|| bytes.to_vec());
    assert_eq!(shown(b"caf\xE9 plain-ascii/+12."), b"caf\xE9 ***.");
    assert_eq!(shown(b"\x89PNG\0\xFFplain-ascii/+12\0"), b"\x89PNG\0\xFF***\0");
    let western: Vec<u8> = format!("<{KEY}>").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(shown(&western), b"<***>");
    for text in [KEY, "plain-ascii/+12", &hexed("", ""), &padded_base64(b"plain-ascii/+12")] {
        let all = format!("one {text} two");
        for order in [0, 1] {
            let [wide, masked] = [all.as_str(), "one *** two"].map(|text| utf16(text)[order].clone());
            let marked: Vec<u8> = [b"\xFE\xFF".as_slice(), &wide].concat();
            assert_eq!(shown(&marked)[2..], masked, "{text} {order}");
        }
    }
    for order in [0, 1] {
        let wide = utf16("one plain-ascii/+12 two")[order].clone();
        let lossy = String::from_utf8_lossy(&wide).into_owned();
        let escaped = crate::visible::escape(&lossy).into_owned();
        for text in [&lossy, &escaped, &padded_base64(&wide), &hex(&wide)] {
            let clean = redactor.redact(text).unwrap_or_default();
            assert!(clean.contains("***") && !clean.contains("ascii"), "{order}: {text} -> {clean}");
        }
    }
    let wide: Vec<u8> = "<plain-ascii/+12>".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    assert_eq!(shown(&wide), b"\0\0\0<\0\0\0*\0\0\0*\0\0\0*\0\0\0>");
    assert_eq!(shown(b"\xFF\xFEnothing"), b"\xFF\xFEnothing");
}

#[test]
fn what_a_cut_leaves_of_a_secret_is_found() {
    let redactor = Redactor::new(["open-sesame-and-more"]);
    let shown = |text: &str| redactor.redact(text).unwrap_or_else(|| text.to_owned());
    assert_eq!(
        shown("a: open-sesa\n… 512 bytes left out …\nme-and-more; open-sesa"),
        "a: ***\n… 512 bytes left out …\n***; open-sesa"
    );
    assert_eq!(shown("[… 9 bytes left out …]\nand-more\n"), "[… 9 bytes left out …]\n***\n");
    assert_eq!(shown("no\n… 9 bytes left out …\nmore"), "no\n… 9 bytes left out …\n***");
    assert_eq!(shown("op\n… 9 bytes left out …\nre"), "op\n… 9 bytes left out …\nre");
    assert_eq!(shown("open-ses\n… 9 bytes cut …"), "***\n… 9 bytes cut …");
    let half = &padded_base64(b"open-sesame-and-more")[..12];
    assert_eq!(shown(&format!("{half}\n… 9 bytes left out …\n")), "***\n… 9 bytes left out …\n");
}

#[test]
fn a_quote_is_found_however_it_is_quoted() {
    let redactor = Redactor::new(["pa's\\w\"rd\nünd"]);
    for form in [
        r#"'pa'\''s\w"rd'$'\n''ünd'"#,
        r#"'pa'"'"'s\w"rd'"#,
        r#"'pa''s\w"rd'"#,
        r#""pa's\w""rd""#,
        r#""pa's\\w\"rd\nünd""#,
        r#"$'pa\'s\\w"rd\n\303\274nd'"#,
        r#"pa\'s\\w\"rd"#,
        r#"{\"x\": \"'pa'\\\\''s\\\\w\\\"rd'\"}"#,
        r#""pa's\\w\"rd\n\u{fc}nd""#,
        r#"'pa\'s\\w"rd\n\U000000fcnd'"#,
    ] {
        let shown = redactor.redact(&format!("+ T={form} end")).unwrap_or_default();
        assert!(shown.contains("***") && shown.ends_with(" end"), "{form} → {shown}");
        assert!(!shown.contains("pa") && !shown.contains("rd"), "{form} → {shown}");
    }
    assert_eq!(redactor.redact("pa s w rd"), None);
}

#[test]
fn short_lines_of_a_secret_are_found_and_its_structure_stays() {
    let secret = "[default]\nlogin ann\npassword123\nusers:\n-----END-----\nshort\n";
    let redactor = Redactor::new([secret]);
    let shown = redactor.redact("a login ann | password123 | users: [default] -----END----- short");
    assert_eq!(shown.as_deref(), Some("a *** | *** | users: [default] -----END----- short"));
    assert_eq!(redactor.redact(secret).as_deref(), Some("***"));
}

#[test]
fn what_a_cut_leaves_is_found_in_other_encodings_too() {
    let key = "Tk-9f8e+7d6c/5bü4a-QQzz";
    let redactor = Redactor::new([key]);
    let mark = "\n[… 17 bytes left out …]\n".as_bytes();
    let western: Vec<u8> = key.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let wide: Vec<u8> = key.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    for form in utf16(key).into_iter().chain([western, wide]) {
        for at in 12..form.len() - 12 {
            let text = [b"\xFF\0~\0".as_slice(), &form[..at], mark, &form[at..], b"~\0"].concat();
            let letters = |bytes: &[u8]| -> String {
                bytes.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
            };
            let shown = letters(&redactor.redact_bytes(&text).unwrap_or_default());
            for part in ["Tk-", "9f8", "7d6c", "5b", "4a-", "Qzz"] {
                assert!(!shown.contains(part), "{at}: {:?} → {shown:?}", letters(&text));
            }
            let lossy = String::from_utf8_lossy(&text).into_owned();
            let shown = letters(redactor.redact(&lossy).unwrap_or_default().as_bytes());
            for part in ["Tk-", "9f8", "7d6c", "Qzz"] {
                assert!(!shown.contains(part), "{at}: {lossy:?} → {shown:?}");
            }
        }
    }
}

#[test]
fn a_secret_is_found_where_its_bytes_were_read_as_another_encoding() {
    let key = "pa's-ünd-密-4711-x";
    let redactor = Redactor::new([key]);
    let western = b"<pa's-\xFCnd-?-4711-x>".to_vec();
    let ascii = b"<pa's-?nd-?-4711-x>".to_vec();
    let wide: Vec<u8> = format!("<{key}>").chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let [le, be] = utf16(&format!("<{key}>"));
    for bytes in [western, ascii, wide, le, be] {
        let lossy = String::from_utf8_lossy(&bytes).into_owned();
        let shown = redactor.redact(&lossy).unwrap_or_default();
        assert!(
            shown.contains("***") && !shown.contains('x') && !shown.contains('4'),
            "{lossy:?} → {shown:?}"
        );
        let shown = redactor.redact_bytes(&bytes).unwrap_or_default();
        assert!(shown.contains(&b'*') && !shown.contains(&b'x'), "{lossy:?} → {shown:?}");
    }
    assert_eq!(Redactor::new(["密码密码密码密码"]).redact("what????????"), None);
}

#[test]
fn very_many_marks_and_almost_secrets_take_little_time() {
    let secret = format!("{}b", "a".repeat(400));
    let redactor = Redactor::new([secret.as_str(), "sk-live-0123456789"]);
    let text = format!("{}…", "a".repeat(80)).repeat(2_000);
    assert!(redactor.redact(&text).is_some());
    assert!(redactor.redact(&"…".repeat(30_000)).is_none());
}

#[test]
fn a_secret_is_found_where_a_terminal_wraps_it() {
    let redactor = Redactor::new(["open-sesame-and-more"]);
    let shown = |text: &str| redactor.redact(text).unwrap_or_default();
    assert_eq!(shown("token: open-ses\name-and-more ok"), "token: *** ok");
    assert_eq!(shown("open-\r\nsesame-\r\nand-more\nopen sesame"), "***\nopen sesame");
    assert_eq!(shown(r#"{"screen": "a open-sesam\ne-and-more"}"#), r#"{"screen": "a ***"}"#);
    assert_eq!(redactor.redact("open-ses ame-and-more"), None);
}

/// Output of `od -t x1`, `od -b` and so on for `bytes`: an offset, then sixteen bytes per line in the
/// format of `word`.
fn dump(bytes: &[u8], word: impl Fn(&[u8]) -> String, width: usize) -> String {
    let line = |(at, line): (usize, &[u8])| {
        let words: Vec<_> = line.chunks(width).map(&word).collect();
        format!("{:07o} {}\n", at * 16, words.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[test]
fn numbers_that_are_the_bytes_of_a_secret_are_found() {
    const LONG: &str = "sk-live+key/with-4711-many-more/characters";
    let redactor = Redactor::new([LONG]);
    let bytes = format!("T={LONG}\n").into_bytes();
    let listed = |between: &str, write: &dyn Fn(u8) -> String| {
        LONG.bytes().map(write).collect::<Vec<_>>().join(between)
    };
    let turned = |word: &[u8]| hex(&word.iter().rev().copied().collect::<Vec<_>>());
    let octal_word = |word: &[u8]| {
        format!("{:06o}", u16::from_le_bytes([word[0], word.get(1).copied().unwrap_or_default()]))
    };
    let octal_words = |word: &[u8]| {
        let mut four = [0; 4];
        four[..word.len()].copy_from_slice(word);
        format!("{:011o}", u32::from_le_bytes(four))
    };
    let chars = |word: &[u8]| match word {
        [b'\n'] => " \\n".to_owned(),
        [byte] => format!("  {}", char::from(*byte)),
        _ => unreachable!(),
    };
    let ascii =
        |line: &[u8]| line.iter().map(|byte| char::from(*byte)).filter(|c| *c != '\n').collect::<String>();
    let canonical = bytes
        .chunks(16)
        .enumerate()
        .map(|(at, line)| {
            let hexed = line.chunks(8).map(|half| half.chunks(1).map(hex).collect::<Vec<_>>().join(" "));
            format!("{:08x}  {}  |{}|\n", at * 16, hexed.collect::<Vec<_>>().join("  "), ascii(line))
        })
        .collect::<Vec<_>>()
        .concat();
    let xxd = bytes
        .chunks(16)
        .enumerate()
        .map(|(at, line)| {
            let words = line.chunks(2).map(hex).collect::<Vec<_>>().join(" ");
            format!("{:08x}: {words:<39}  {}\n", at * 16, ascii(line))
        })
        .collect::<Vec<_>>()
        .concat();
    for form in [
        listed(" ", &|byte| format!("{byte:03o}")),
        listed("\n", &|byte| format!("{byte:03o}")),
        listed(", ", &|byte| format!("0o{byte:03o}")),
        listed(", ", &|byte| byte.to_string()),
        format!("['{}']", listed("', '", &|byte| format!("{byte:#x}"))),
        format!("['{}']", listed("', '", &|byte| format!("{byte:#o}"))),
        listed(" ", &|byte| format!("{byte:03}")),
        listed(" ", &|byte| format!("{byte:08b}")),
        format!("{{\"type\":\"Buffer\",\"data\":[{}]}}", listed(",", &|byte| byte.to_string())),
        dump(&bytes, hex, 1),
        dump(&bytes, |word| format!("{:03o}", word[0]), 1),
        dump(&bytes, |word| format!("{:>3}", word[0]), 1),
        dump(&bytes, turned, 2),
        dump(&bytes, turned, 4),
        dump(&bytes, octal_word, 2),
        dump(&bytes, octal_words, 4),
        dump(&bytes, |word| format!("{:08b}", word[0]), 1),
        dump(&bytes, chars, 1),
        canonical,
        xxd.replace('\n', "\r\n"),
        xxd,
    ] {
        let text = format!("before\n{form}\nafter");
        let shown = redactor.redact(&text).unwrap_or_default();
        assert!(
            shown.contains("***") && shown.starts_with("before") && shown.ends_with("after"),
            "{form} → {shown}"
        );
        assert!(shown.len() < 80, "{form} → {shown}");
        let json = serde_json::to_string(&text).unwrap();
        assert!(redactor.redact(&json).is_some_and(|shown| shown.len() < 90), "{json}");
    }
}

#[test]
fn numbers_of_harmless_lists_stay() {
    let redactor = Redactor::new(["123456", "abcdef", "aaaaaaaa", "sk-live+key"]);
    for text in [
        "49 50 51 52 53 54",
        "[97, 98, 99, 100, 101, 102]",
        "97 97 97 97 97 97 97 97 97",
        "0000000 141 142 143 144 145 146",
        "20231 163 153 055 154",
        "115 107 45 108 105 118 101 43 999",
        "0000000   h   e   l   l   o",
    ] {
        assert_eq!(redactor.redact(text), None, "{text}");
    }
}

#[test]
fn other_text_stays() {
    for text in ["", "sk-live", "sk-livekey/with", "aGVsbG8gd29ybGQsIGhvdyBhcmUgeW91", "73 6b 2d 6c", "***"] {
        assert_eq!(redact(text), text);
    }
    assert!(Redactor::new(["", "short", "     x     "]).is_empty());
}

#[test]
fn a_long_value_comes_before_one_that_it_contains() {
    let both = Redactor::new(["open-sesame", "open-sesame-and-more"]);
    assert_eq!(both.redact("<open-sesame-and-more>").as_deref(), Some("<***>"));
    assert_eq!(both.redact("<open-sesame>").as_deref(), Some("<***>"));
    assert!(Redactor::new(["7315591466"]).numbers() && !both.numbers());
}

#[test]
fn many_long_secrets_are_found_in_much_text() {
    let values: Vec<String> =
        (0..40).map(|n| format!("{}-{n}-{}", "Aa9_".repeat(40), "z/+".repeat(10))).collect();
    let redactor = Redactor::new(values.iter().map(String::as_str));
    let text = format!("{}{}", "Aa9_".repeat(20_000), values[39]);
    assert!(redactor.redact(&text).is_some_and(|shown| shown.ends_with("***")));
}
