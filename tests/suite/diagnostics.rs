//! An author's mistakes: one file in, what is said about it out.
#![expect(clippy::disallowed_methods, reason = "reads the files with the mistakes")]

use std::collections::BTreeSet;

use atoll::diag::Code;
use atoll::plan::{Loaded, MemorySources, load};
use atoll::report::diagnostics::{render_json, render_text};

use crate::toys;

/// What the mistakes stand beside: a pipeline to extend, one to call, texts and schemas.
fn library() -> MemorySources {
    MemorySources::new([
        (
            "pipelines/base.toml",
            "atoll = 1\n[steps.first]\nset = { x = 1 }\n[steps.second]\nset = { y = \"{{ steps.first.output.x }}\" }\n",
        ),
        ("pipelines/circle.toml", "atoll = 1\nextends = \"extends_cycle\"\n"),
        (
            "pipelines/callee.toml",
            "atoll = 1\n[inputs.spec]\ntype = \"string\"\nrequired = true\n[steps.s]\nset = { x = \"{{ inputs.spec }}\" }\n[outputs]\nscore = \"steps.s.output.x\"\n",
        ),
        ("prompts/demo/ask.md", "Say hello.\n"),
        (
            "prompts/demo/bad.md",
            "Dear reader,\n\nthe spec is {{ inputs.spec.text }}, über {{ steps.nobody.output }}.\n",
        ),
        (
            "prompts/demo/frame.md",
            "You say:\n{% block role %}\nhello\n{% endblock %}\n{% block end %}bye{% endblock %}\n",
        ),
        (
            "prompts/demo/child.md",
            "{% extends \"prompts/demo/frame.md\" %}\n{% block rolle %}{% endblock %}\n",
        ),
        (
            "prompts/demo/stray.md",
            "{% extends \"prompts/demo/frame.md\" %}\nDear reader,\n{% block role %}{% endblock %}\n",
        ),
        (
            "prompts/demo/wrong.md",
            "{% extends \"prompts/demo/frame.md\" %}\n{% block role %}\n{{ super() }}\nof {{ steps.a.output.txt }}\n{% endblock %}\n",
        ),
        ("prompts/demo/lost.md", "{% extends \"builtin/prompts/demo/fram.md\" %}\n"),
        ("builtin/prompts/demo/frame.md", "{% block role %}{% endblock %}\n"),
        (
            "schemas/verdict.json",
            r##"{"type": "object", "properties": {"score": {"type": "integer"}, "reasons": {"type": "array", "items": {"$ref": "#/$defs/reason"}}}, "$defs": {"reason": {"type": "object", "properties": {"text": {"type": "string"}}}}}"##,
        ),
        ("schemas/broken.json", "{\"type\": "),
    ])
}

fn check(name: &str, text: &str) -> Loaded {
    let path = format!("pipelines/{name}.toml");
    load(name, &library().with(path, text), &toys::catalog(), &[])
}

#[test]
fn every_mistake_is_explained_where_it_stands() {
    insta::glob!("../diagnostics", "*.toml", |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let loaded = check(name, &text);
        assert!(!loaded.diagnostics.is_empty(), "{name}: nothing is said");
        for diagnostic in &loaded.diagnostics {
            let shown = render_json(std::slice::from_ref(diagnostic), &loaded.sources);
            assert!(diagnostic.help.is_some(), "{name}: no hint in {shown}");
            assert!(diagnostic.span().is_some(), "{name}: no place in {shown}");
        }
        let mut settings = insta::Settings::clone_current();
        settings.remove_snapshot_suffix();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_snapshot_path("../diagnostics");
        let shown = render_text(&loaded.diagnostics, &loaded.sources, false);
        settings.bind(|| insta::assert_snapshot!(name, shown));
    });
}

/// Whether a code is about a pipeline, not about what a run is given or about scenarios.
fn language_number(number: &str) -> bool {
    number < "E06" || number.starts_with('W') && number < "W06"
}

#[test]
fn the_mistakes_cover_the_codes_of_the_language() {
    let mut seen = BTreeSet::new();
    let mut files = 0;
    for entry in std::fs::read_dir("tests/diagnostics").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let loaded = check(&name, &std::fs::read_to_string(&path).unwrap());
            seen.extend(loaded.diagnostics.iter().map(|diagnostic| diagnostic.code));
            files += 1;
        }
    }
    assert!(files >= 40, "{files} files");
    // Tried elsewhere: doors, settings, what a run is given, and what real verbs refuse.
    let elsewhere = [Code::Unreadable, Code::BadSetting, Code::Refused];
    let language = |code: &Code| language_number(code.number()) || *code == Code::InputDeclaration;
    let missing: Vec<_> = Code::ALL
        .iter()
        .copied()
        .filter(|code| language(code) && !seen.contains(code) && !elsewhere.contains(code))
        .map(Code::number)
        .collect();
    assert!(missing.is_empty(), "no mistake gives {missing:?}");
}

#[test]
fn a_file_with_many_mistakes_reports_them_all() {
    let loaded = check("many", include_str!("../diagnostics/many.toml"));
    let codes: Vec<&str> = loaded.diagnostics.iter().map(|diagnostic| diagnostic.code.number()).collect();
    for code in ["E0102", "E0107", "E0108", "E0202", "E0203", "E0205", "E0403", "E0404", "E0406"] {
        assert!(codes.contains(&code), "{code} is missing from {codes:?}");
    }
    assert!(loaded.plan.is_none());
}

#[test]
fn every_code_is_explained_with_an_example_and_the_fix() {
    let mut numbers = BTreeSet::new();
    for code in Code::ALL {
        assert!(numbers.insert(code.number()), "{code} is used twice");
        assert_eq!(Code::parse(&code.number().to_lowercase()), Some(*code));
        assert!(!code.explanation().is_empty(), "{code} has no explanation");
        if code.number() < "E07" || language_number(code.number()) {
            assert!(code.explanation().contains("\n\n    "), "{code} has no example");
        }
    }
}
