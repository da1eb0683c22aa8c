//! Two builds of the binary on the same work, in turn: `ATOLL_BEFORE=PATH cargo bench --bench compare` compares that
//! binary with the one of this tree, or with that of `ATOLL_AFTER`. For the allocator:
//!
//! ```sh
//! cargo build --release --no-default-features --target-dir target/system
//! ATOLL_BEFORE=target/system/release/atoll cargo bench --bench compare
//! ```
//!
//! `ATOLL_ROUNDS` says how often each runs (9 where it is not set). A round runs both, the one that was second in the
//! last round first, so that a machine that becomes slower slows both.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement measures time, reads its settings, starts processes and prints"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// One row: a pipeline, and what is said of it.
const WORK: [(&str, &str); 4] = [
    (
        "`each` over 10,000 one-step items",
        "atoll = 1\n[steps.all.each]\nover = \"range(10000)\"\n[steps.all.steps.one]\nset = { n = \"{{ item }}\" }\n",
    ),
    (
        "`compute`: 10,000 walks of 25 rounds",
        "atoll = 1\n[steps.walks.each]\nover = \"range(10000)\"\nresult = \"steps.walk.output.at\"\n\
         [steps.walks.steps.walk]\ncompute = { init = { at = \"item\", path = \"[item]\" }, \
         next = { at = \"(state.at * 7 + n) % 101\", path = \"state.path + [state.at]\" }, until = \"n >= 25\", max = 30 }\n",
    ),
    (
        "`loop` of 4,000 rounds that add to a list",
        "atoll = 1\n[steps.work.loop]\nmax = \"4000\"\nresult = \"state.seen | length\"\nstate = { seen = \"[]\" }\n\
         next = { seen = \"state.seen + [steps.one.output.text]\" }\n[steps.work.steps.one]\nset = { text = \"some text of a round\" }\n",
    ),
    ("one step: start and end", "atoll = 1\n[steps.hello]\nset = { word = \"hello\" }\n"),
];

/// What one run took.
#[derive(Clone, Copy)]
struct Took {
    ms: f64,
    cpu_ms: f64,
    mib: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [word, program, dir] = args.as_slice()
        && word == "--measure"
    {
        return measure(Path::new(program), Path::new(dir));
    }
    let named = |name: &str| std::env::var_os(name).map(|path| PathBuf::from(path).canonicalize().unwrap());
    let Some(before) = named("ATOLL_BEFORE") else {
        println!("ATOLL_BEFORE names the binary to compare with: see benches/compare.rs");
        return;
    };
    let after = named("ATOLL_AFTER").unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_atoll")));
    let rounds = std::env::var("ATOLL_ROUNDS").map_or(9, |text| text.parse().unwrap());
    println!("before: {}\nafter:  {}\n{rounds} rounds; median (least)\n", before.display(), after.display());
    println!("| what | | before | after | ratio of medians |\n|---|---|---|---|---|");
    for (what, pipeline) in WORK {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            for turn in [round % 2, (round + 1) % 2] {
                let (program, list) = if turn == 0 { (&before, &mut old) } else { (&after, &mut new) };
                list.push(took(program, pipeline));
            }
        }
        row(what, "ms", &old, &new, |took| took.ms);
        row("", "ms of processors", &old, &new, |took| took.cpu_ms);
        row("", "MiB at most", &old, &new, |took| took.mib);
    }
}

fn row(what: &str, unit: &str, old: &[Took], new: &[Took], of: fn(&Took) -> f64) {
    let sorted = |list: &[Took]| {
        let mut values: Vec<f64> = list.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0])
    };
    let ((old, old_least), (new, new_least)) = (sorted(old), sorted(new));
    println!(
        "| {what} | {unit} | {old:.0} ({old_least:.0}) | {new:.0} ({new_least:.0}) | {:.2} |",
        new / old
    );
}

/// What a fresh run of the pipeline takes with `program`: measured by a child, whose only child it is.
fn took(program: &Path, pipeline: &str) -> Took {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&base).unwrap();
    let dir = tempfile::tempdir_in(base).unwrap();
    std::fs::write(dir.path().join("bench.toml"), pipeline).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let out = child.arg("--measure").args([program, dir.path()]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let words: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Took { ms: words[0], cpu_ms: words[1], mib: words[2] }
}

/// A child: runs `program` once in `dir`, and prints what that took.
fn measure(program: &Path, dir: &Path) {
    let started = Instant::now();
    let mut command = Command::new(program);
    let out =
        command.current_dir(dir).args(["run", "bench.toml", "-q", "--data-dir", "data"]).output().unwrap();
    let span = started.elapsed();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
    println!("{} {cpu} {}", span.as_secs_f64() * 1e3, usage.max_rss() / 1024);
}
