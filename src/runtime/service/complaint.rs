//! Error message for a command of the author that failed inside a service.

use super::Log;
use crate::relay::ExecReport;

/// Most bytes of the end of the output in the message.
const SAID: usize = 2 << 10;

/// Why the command `line` failed: how it ended, and the end of its output. `None` if it succeeded.
pub(super) fn complaint(line: &str, report: &ExecReport) -> Option<String> {
    let how = match report.exit_code {
        Some(0) => return None,
        Some(code) => format!("ended with exit code {code}"),
        None => "did not end in time".to_owned(),
    };
    let log = Log::default();
    log.push(&report.stdout);
    log.push(&report.stderr);
    let said = log.tail(SAID);
    Some(format!("`{line}` {how}: {}", said.trim()).trim_end_matches([' ', ':']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_a_command_said_is_repeated() {
        let report = |exit_code, stdout: &str, stderr: &str| ExecReport {
            exit_code,
            stdout: stdout.into(),
            stderr: stderr.into(),
            ..ExecReport::default()
        };
        assert_eq!(complaint("x", &report(Some(0), "a", "")), None);
        assert_eq!(complaint("x", &report(Some(3), "", "")).unwrap(), "`x` ended with exit code 3");
        assert_eq!(complaint("x", &report(None, "one\n", "")).unwrap(), "`x` did not end in time: one");
        let flood = complaint("x", &report(Some(1), &"a".repeat(1 << 20), "no such file")).unwrap();
        assert!(flood.len() < 3 << 10 && flood.ends_with("no such file"), "{}", flood.len());
        assert!(flood.starts_with("`x` ended with exit code 1: [… "), "{}", &flood[..80]);
    }
}
