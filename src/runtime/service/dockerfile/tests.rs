use super::*;

fn orders(text: &str) -> Vec<InstructionKind> {
    let stage = parse(text).unwrap().stages.pop().unwrap();
    stage.steps.into_iter().map(|step| step.order).collect()
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn instructions_are_read_in_both_forms() {
    let text = "# c\nFROM a AS one\nRUN make\nFROM --platform=$P b as Two\nWORKDIR /app\nCOPY --chown=1:1 a.py b/ ./\nADD [\"a b\", \"/x y/\"]\nENV A=1 B=\"x y\" C=x\\ y\nENV C d e\nRUN one && \\\n  # why\n\n  two\nEXPOSE 80 90/udp\nENTRYPOINT [\"python3\", \"a.py\"]\nCMD serve $PORT\nCOPY --from=one --chmod=755 /a /b\nHEALTHCHECK --interval=1m30s --retries=2 CMD curl x\nSHELL [\"/bin/bash\", \"-c\"]\nONBUILD RUN x\nVOLUME [\"/a\"]\n";
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let copied = |from: &[&str], to: &str| CopyInstruction {
        sources: strings(from),
        to: to.to_owned(),
        ..CopyInstruction::default()
    };
    assert_eq!(
        orders(text),
        [
            InstructionKind::Workdir("/app".into()),
            InstructionKind::Copy(CopyInstruction {
                chown: Some("1:1".into()),
                ..copied(&["a.py", "b/"], "./")
            }),
            InstructionKind::Copy(CopyInstruction { adds: true, ..copied(&["a b"], "/x y/") }),
            InstructionKind::Env(vec![pair("A", "1"), pair("B", "\"x y\""), pair("C", "x\\ y")]),
            InstructionKind::Env(vec![pair("C", "d e")]),
            InstructionKind::Run(CommandForm::Shell("one &&   two".into())),
            InstructionKind::Expose("80 90/udp".into()),
            InstructionKind::Entrypoint(CommandForm::Exec(strings(&["python3", "a.py"]))),
            InstructionKind::Cmd(CommandForm::Shell("serve $PORT".into())),
            InstructionKind::Copy(CopyInstruction {
                from: Some("one".into()),
                chmod: Some("755".into()),
                ..copied(&["/a"], "/b")
            }),
            InstructionKind::Healthcheck(Healthcheck {
                command: Some(CommandForm::Shell("curl x".into())),
                interval: Some(90_000_000_000),
                retries: Some(2),
                ..Healthcheck::default()
            }),
            InstructionKind::Shell(strings(&["/bin/bash", "-c"])),
            InstructionKind::OnBuild("RUN x".into()),
            InstructionKind::Volume(strings(&["/a"])),
        ]
    );
    let file = parse(text).unwrap();
    assert_eq!((file.stages.len(), file.stages[1].line, file.stages[1].name.as_deref()), (2, 4, Some("two")));
    assert_eq!(file.stages[1].platform.as_deref(), Some("$P"));
}

#[test]
fn what_is_not_understood_is_named_with_its_line() {
    let error = |text: &str| parse(text).unwrap_err();
    assert!(error("FROM a\nFOO bar").starts_with("line 2: unknown instruction FOO"));
    assert!(error("FROM a\n\nCOPY --parents /a /b").starts_with("line 3: COPY has no option --parents"));
    assert!(error("FROM a\nRUN --mount=type=cache,target=/x make").contains("options of RUN"));
    assert!(error("FROM a\nRUN <<EOF\nx\nEOF").contains("line 2: here-documents"));
    assert!(error("FROM a\nCOPY x").contains("a source and a target"));
    assert!(error("FROM a\nENV A=1 B").contains("`B` has no value"));
    assert!(error("FROM a\nWORKDIR").contains("needs an argument"));
    assert!(error("FROM a b").contains("line 1: FROM requires"));
    assert!(error("FROM a\nHEALTHCHECK --interval=soon CMD x").contains("`soon` is not a duration"));
    assert!(error("FROM a\nONBUILD FROM b").contains("cannot be used in ONBUILD"));
    assert!(error("RUN x").contains("begins with FROM"));
    assert!(error("").contains("no FROM"));
}

#[test]
fn another_escape_character_can_be_chosen() {
    let file = parse("# escape=`\nFROM a\nRUN x `\n  y\nENV A=c:\\d\n").unwrap();
    assert_eq!((file.escape, file.stages[0].steps.len()), ('`', 2));
    assert_eq!(file.stages[0].steps[0].order, InstructionKind::Run(CommandForm::Shell("x   y".into())));
    assert_eq!(parse("FROM a\n# escape=`\nRUN x\n").unwrap().escape, '\\');
}

#[test]
fn variables_and_quotes_are_replaced() {
    let lookup = |name: &str| match name {
        "A" => Some("1"),
        "E" => Some(""),
        _ => None,
    };
    let read = |text: &str| expand(text, '\\', 99, &lookup);
    assert_eq!(read("$A-${A}-${B:-two}-$B-$").unwrap(), "1-1-two--$");
    assert_eq!(read(r#""a $A" 'b $A' \$A \a "\"\x""#).unwrap(), r#"a 1 b $A $A a "\x"#);
    assert_eq!(read("${A:+set}${B:+set}${E:-e}${E-e}${E:+x}${E+y}").unwrap(), "setey");
    assert_eq!(read("${B:-${C:-$A}}").unwrap(), "1");
    assert_eq!(read("${B:?no B}").unwrap_err(), "the variable `B` is not set: no B");
    for wrong in ["'a", "\"a", "${A", "${A:-x", "${}", "${A%x}", &"${B:-".repeat(40)] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let long = "x".repeat(30);
    let lookup = |name: &str| (name == "A").then_some(long.as_str());
    assert_eq!(expand("$A$A$A", '\\', 90, &lookup).unwrap().len(), 90);
    for bomb in ["$A$A$A.", "$A$A$A$A$A", "\"$A$A$A$A\"", "${B:-$A$A$A$A}", &"y".repeat(91)] {
        assert!(expand(bomb, '\\', 90, &lookup).is_err(), "{bomb}");
    }
}
