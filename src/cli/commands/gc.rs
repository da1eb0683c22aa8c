//! `atoll gc`: deletes old runs, unreferenced data, and leftovers of dead processes.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::execution::leftovers;
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::project::seal;
use crate::cli::project::settings::Settings;
use crate::cli::wiring;
use crate::clock::{Millis, millis};
use crate::rooted_fs::remove_tree;
use crate::store::{Durability, RunSummary, StoreError};

/// Content younger than this may belong to a fact that is not written yet.
const YOUNG: Duration = Duration::from_secs(600);

/// `atoll gc`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Delete runs that started longer ago than this: `30d`, `12h`
    #[arg(long, value_name = "SPAN", value_parser = span)]
    older_than: Option<Duration>,
    /// Keep the newest N runs of each pipeline, and delete the others
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Format of the result
    #[arg(long, default_value = "text")]
    format: Format,
}

fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and one of s, m, h, d, w, e.g. `30d`".to_owned();
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
    let seconds: u64 = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Cleans up.
pub fn run(app: &App, args: &Args) -> CommandResult {
    seal::check_data(&app.settings)?;
    let looked = wiring::open_to_read(&app.settings)?;
    let open = || wiring::open(&app.settings, Durability::default());
    let Some(store) = looked.map(|looked| if args.dry_run { Ok(looked) } else { open() }).transpose()? else {
        if !args.dry_run {
            leftovers::clear_all(app, &[])?;
        }
        app.terminal.say(&format!("no runs in {}", app.settings.data.display()));
        return Ok(ExitStatus::REACHED);
    };
    let now = wiring::clock().now();
    let heads = store.heads(usize::MAX, None)?;
    let old: Vec<&RunSummary> = too_old(&heads, args, now);
    let (mut removed, mut busy) = (Vec::new(), Vec::new());
    for head in old {
        match if args.dry_run { Ok(()) } else { store.remove(&head.run) } {
            Ok(()) => removed.push(head.run.clone()),
            Err(StoreError::Held { run, .. }) => busy.push(run),
            Err(error) => return Err(error.into()),
        }
    }
    let swept = if args.dry_run {
        crate::store::GcReport::default()
    } else {
        for run in &removed {
            discard(&app.settings, run.as_str());
        }
        leftovers::clear_all(app, &store.heads(usize::MAX, None)?)?;
        store.sweep(now.saturating_sub(millis(YOUNG)))?
    };
    let json = || {
        json!({
            "version": 1, "dry_run": args.dry_run, "removed": removed, "busy": busy,
            "blobs": swept.blobs, "bytes": swept.bytes,
        })
    };
    let text = || {
        let word = if args.dry_run { "would be removed" } else { "removed" };
        let mut text = String::new();
        for run in &removed {
            let _ = writeln!(text, "{run} {word}");
        }
        for run in &busy {
            let _ = writeln!(text, "{run} is running: not deleted");
        }
        if !args.dry_run {
            let (blobs, bytes) = (swept.blobs, swept.bytes);
            let _ = writeln!(text, "{} runs, {blobs} blobs ({bytes} bytes) removed", removed.len());
        }
        text
    };
    args.format.print(app.terminal, json, text)?;
    Ok(ExitStatus::REACHED)
}

/// The runs to delete; none without a rule.
fn too_old<'a>(heads: &'a [RunSummary], args: &Args, now: Millis) -> Vec<&'a RunSummary> {
    let mut newer = std::collections::HashMap::<&str, usize>::new();
    heads
        .iter()
        .filter(|head| {
            let before = newer.entry(&head.pipeline).or_default();
            *before += 1;
            let surplus = args.keep.is_some_and(|keep| *before > keep);
            let aged = args.older_than.is_some_and(|age| head.started_at.saturating_add(millis(age)) < now);
            match (args.keep, args.older_than) {
                (Some(_), Some(_)) => surplus && aged,
                _ => surplus || aged,
            }
        })
        .collect()
}

/// Removes the temporary and the kept files of a run.
fn discard(settings: &Settings, run: &str) {
    // Anything that remains is found by the next `gc` of the owner of the directory.
    let _ = remove_tree(&settings.scratch().join(run));
    let _ = remove_tree(&settings.files().join(run));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;
    use crate::meter::Meter;
    use crate::value::Digest;

    #[test]
    fn both_rules_together_are_narrower_than_one() {
        let head = |run: &str, pipeline: &str, started_at: Millis| RunSummary {
            run: RunId::new(run),
            pipeline: pipeline.into(),
            plan: Digest::of("p"),
            status: "done".into(),
            code: Some(0),
            started_at,
            finished_at: None,
            spent: Meter::new(),
            score: None,
            outputs: None,
        };
        let heads =
            [head("d", "p", 90_000), head("c", "q", 5_000), head("b", "p", 80_000), head("a", "p", 1_000)];
        let pick = |keep: Option<usize>, seconds: Option<u64>| {
            let older_than = seconds.map(Duration::from_secs);
            let args = Args { older_than, keep, dry_run: false, format: Format::Text };
            too_old(&heads, &args, 100_000)
                .iter()
                .map(|head| head.run.to_string())
                .collect::<Vec<_>>()
                .concat()
        };
        assert_eq!(pick(None, None), "");
        assert_eq!(pick(Some(1), None), "ba");
        assert_eq!(pick(None, Some(30)), "ca");
        assert_eq!(pick(Some(1), Some(30)), "a");
        assert_eq!(span("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert!(span("30").is_err() && span("x").is_err() && span("99999999999999999999w").is_err());
    }
}
