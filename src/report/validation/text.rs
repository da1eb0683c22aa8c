use std::fmt::Write as _;

use super::{ScenarioResult, StepResult, StepVerdict, Totals, Validation};
use crate::report::Paint;
use crate::report::units::{hanging, harmless, name};

/// The maximum number of lines of a request, an answer and a log.
const LINES: usize = 20;
/// The maximum number of characters of a line.
const WIDTH: usize = 200;

/// For people: every scenario with its score, failed steps with their evidence, then the total.
pub fn render_text(found: &Validation, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(trouble) = &found.trouble {
        let _ = writeln!(text, "{} {}", paint.bad("✗"), hanging(trouble, "  "));
        return text;
    }
    for note in &found.notes {
        let _ = writeln!(text, "{} {}\n", paint.warm("note:"), hanging(note, "  "));
    }
    if let Some(reason) = &found.unreachable {
        let _ = writeln!(text, "{} the target is unreachable: {}", paint.bad("✗"), hanging(reason, "  "));
        text.push_str("  start the program first, or wait for it with `--wait 30s`\n");
        return text;
    }
    text.push_str("Scenarios:\n");
    for scenario in &found.scenarios {
        scenario_text(&mut text, scenario, found.wants_judge(), paint);
    }
    let whole = points(found.aggregate_score);
    let _ = writeln!(text, "\n{}", Totals::of(found).text());
    let _ = writeln!(text, "Aggregate satisfaction: {}{}", whole.trim(), beside(found));
    if let Some(waits) = &found.waits {
        let _ = writeln!(text, "\nThe results so far. {}", hanging(waits, "  "));
        let _ = writeln!(
            text,
            "`atoll resume last` continues the run; then `atoll validate --of last` prints the whole report"
        );
    }
    text
}

fn beside(found: &Validation) -> String {
    let mut parts = Vec::new();
    if found.threshold > 0.0 {
        parts.push(format!("threshold {}", found.threshold));
    }
    if let Some(passing) = found.passing.filter(|_| found.judged) {
        parts.push(format!("passing {passing}"));
    }
    if found.unjudged > 0 {
        parts.push(format!("{} unjudged", found.unjudged));
    }
    if found.not_run() > 0 {
        parts.push(format!("{} not run", found.not_run()));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn points(score: Option<f64>) -> String {
    score.map_or_else(|| "  –  ".to_owned(), |score| format!("{score:5.1}/100"))
}

fn sign(passed: Option<bool>, paint: Paint) -> String {
    match passed {
        Some(true) => paint.good("✓"),
        Some(false) => paint.bad("✗"),
        None => paint.warm("?"),
    }
}

fn scenario_text(text: &mut String, scenario: &ScenarioResult, wanted: bool, paint: Paint) {
    let unjudged = match (&scenario.not_run, scenario.unjudged) {
        (Some(_), _) => "  not run".to_owned(),
        (None, 0) => String::new(),
        (None, count) => format!("  {count} unjudged"),
    };
    let _ = writeln!(
        text,
        "  {} {:<30} {}  (weight {:.1}){unjudged}",
        if scenario.not_run.is_some() { paint.faint("–") } else { sign(scenario.passed, paint) },
        name(&scenario.id),
        points(scenario.score),
        scenario.weight
    );
    if let Some(why) = &scenario.not_run {
        let _ = writeln!(text, "      {}", hanging(why, "      "));
    }
    if let Some(trouble) = &scenario.trouble {
        let _ = writeln!(text, "      it could not be run: {}", hanging(trouble, "      "));
    }
    if let Some(fault) = &scenario.fault {
        let _ = writeln!(text, "      {}", hanging(&fault.reason, "      "));
        excerpt(text, "log", &fault.log, paint);
    }
    if let Some(broken) = &scenario.broken {
        let _ = writeln!(
            text,
            "    {} setup, step {}  {}",
            paint.bad("✗"),
            broken.step + 1,
            name(&broken.description)
        );
        let _ = writeln!(text, "      why: {}", hanging(&broken.reason, "      "));
        evidence(text, (&broken.sent, &broken.observed, &broken.log), paint);
        excerpt(text, "evidence", &broken.attachments.join("\n"), paint);
    }
    for step in scenario.short() {
        step_text(text, scenario, step, paint);
        reasoning(text, &step.verdict, wanted);
        // An undecided step is not a finding: its evidence is in the JSON.
        if step.verdict.passed == Some(false) {
            evidence(text, (&step.sent, &step.observed, &step.log), paint);
            excerpt(text, "evidence", &step.attachments.join("\n"), paint);
            if let Some(curl) = &step.curl {
                let _ =
                    writeln!(text, "      try it\n      {} {}", paint.faint("│"), hanging(curl, "      "));
            }
        }
    }
    if let Some(criteria) = scenario.criteria.as_ref().filter(|of| of.verdict.passed != Some(true)) {
        let _ = writeln!(
            text,
            "    {} all of it: {}",
            head(&criteria.verdict, paint),
            hanging(criteria.criteria.trim(), "      ")
        );
        reasoning(text, &criteria.verdict, wanted);
    }
}

fn step_text(text: &mut String, scenario: &ScenarioResult, step: &StepResult, paint: Paint) {
    let place = paint.faint(format!("{}:{}", name(&scenario.file), step.line));
    let _ = writeln!(text, "    {} {}  {place}", head(&step.verdict, paint), name(&step.title()));
}

fn head(verdict: &StepVerdict, paint: Paint) -> String {
    let score = verdict.score.map_or_else(|| "  –".to_owned(), |score| format!("{score:3.0}"));
    format!("{} {score}", sign(verdict.passed, paint))
}

/// The reason. It is omitted if no judge was asked and none was wanted.
fn reasoning(text: &mut String, verdict: &StepVerdict, wanted: bool) {
    if verdict.passed.is_none() && !wanted {
        return;
    }
    let spread = match verdict.spread {
        Some(spread) if spread > 0.0 => format!(" (spread {spread})"),
        _ => String::new(),
    };
    let _ = writeln!(text, "      why: {}{spread}", hanging(&verdict.reasoning, "      "));
}

fn evidence(text: &mut String, (sent, observed, log): (&str, &str, &str), paint: Paint) {
    excerpt(text, "sent", sent, paint);
    excerpt(text, "came back", observed, paint);
    let lines: Vec<&str> = log.lines().collect();
    excerpt(text, "log", &lines[lines.len().saturating_sub(LINES)..].join("\n"), paint);
}

/// The beginning of a text under a heading, line by line; nothing if it is empty.
fn excerpt(text: &mut String, name: &str, what: &str, paint: Paint) {
    if what.trim().is_empty() {
        return;
    }
    let _ = writeln!(text, "      {name}");
    let lines: Vec<&str> = what.trim_end().lines().collect();
    for line in lines.iter().take(LINES) {
        let shown: String = harmless(line).chars().take(WIDTH).collect();
        let _ = writeln!(text, "      {} {shown}", paint.faint("│"));
    }
    if lines.len() > LINES {
        let _ = writeln!(text, "      {} … {} more lines", paint.faint("│"), lines.len() - LINES);
    }
}
