//! The published figures of the engine, each beside the least program that commits the same things, measured in the
//! same run. `cargo bench --bench figures` prints the table of `docs/figures.md`. All but the engine alone go through
//! the binary, with its defaults.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement measures time, starts processes and prints"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll::engine::{Order, Report, Run, RunStatus, Settings};
use atoll::id::RunId;
use atoll::plan::{MemorySources, Plan, load};
use atoll::verb::{Blobs, Catalog, MemoryBlobs, Output};
use atoll::verbs::Set;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// How many facts the binary commits together at most, where nothing but pure steps are under way.
const TOGETHER: usize = 2_000;

/// What a process took.
#[derive(Clone, Copy)]
struct Took {
    ms: f64,
    cpu_ms: f64,
    mib: f64,
}

fn chain(length: usize) -> String {
    let mut text = "atoll = 1\n[steps.s0]\nset = { n = 0 }\n".to_owned();
    for i in 1..length {
        let last = i - 1;
        write!(text, "[steps.s{i}]\nset = {{ n = \"{{{{ steps.s{last}.output.n + 1 }}}}\" }}\n").unwrap();
    }
    text
}

fn fan(items: usize) -> String {
    format!(
        "atoll = 1\n[steps.all.each]\nover = \"range({items})\"\n[steps.all.steps.one]\nset = {{ n = \"{{{{ item }}}}\" }}\n\
         [steps.last]\nneeds = [\"all\"]\nset = {{ n = 1 }}\n"
    )
}

const WALKS: &str = r#"
atoll = 1
[steps.walks.each]
over   = "range(10000)"
result = "{ 'water': steps.walk.output.at <= 0, 'n': steps.walk.output.n, 'path': steps.walk.output.path }"
[steps.walks.steps.walk]
compute = { seed = "item", init = { at = "5", path = "[5]" }, next = { at = "state.at + coin(seed, n)", path = "state.path + [state.at + coin(seed, n)]" }, until = "state.at <= 0 or state.at >= 10", max = 1000 }
[functions]
coin = { args = ["seed", "n"], value = "1 if ([seed, n] | random('walk')) < 0.5 else -1" }
[outputs]
water = "steps.walks.output | selectattr('water') | list | length"
mean  = "steps.walks.output | mean(attribute='n')"
"#;

const ROUNDS: &str = r#"
atoll = 1
inputs.n = { type = "int", default = 4000 }
[steps.work.loop]
max = "inputs.n"
result = "{ 'n': state.n, 'seen': state.seen | length }"
state = { n = "0", seen = "[]" }
next = { n = "state.n + steps.one.output.y", seen = "state.seen + [steps.one.output.text]" }
[steps.work.steps.one]
set = { y = 1, text = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" }
"#;

/// The least that does the same commits: `rows` of the size of ours, `per` of them in each transaction.
fn bare(dir: &Path, rows: usize, per: usize) -> Duration {
    let mut db = rusqlite::Connection::open(dir.join("bare.db")).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    db.execute_batch("create table fact(run text, seq integer, at integer, kind text, address text, attempt integer, body text, primary key(run, seq)) strict, without rowid").unwrap();
    let body = r#"{"fact":"succeeded","output":{"value":{"n":100}}}"#;
    let started = Instant::now();
    let all: Vec<i64> = (0..i64::try_from(rows).unwrap()).collect();
    for together in all.chunks(per) {
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        {
            let mut insert = tx.prepare_cached("insert into fact values(?,?,?,?,?,?,?)").unwrap();
            for seq in together {
                let row =
                    rusqlite::params!["bench", seq, 1_700_000_000_000_i64, "succeeded", "s100", 1, body];
                insert.execute(row).unwrap();
            }
        }
        tx.commit().unwrap();
    }
    started.elapsed()
}

fn temp() -> tempfile::TempDir {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&base).unwrap();
    tempfile::tempdir_in(base).unwrap()
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn best(times: usize, mut run: impl FnMut() -> Duration) -> f64 {
    ms((0..times).map(|_| run()).min().unwrap())
}

/// Runs this program again with `args`; what it prints is the answer.
fn child(args: &[&str]) -> String {
    let out = Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A child: runs the binary once in `dir`, and prints what that took.
fn measure(dir: &str, args: &[&str]) {
    let started = Instant::now();
    let out = Command::new(env!("CARGO_BIN_EXE_atoll")).current_dir(dir).args(args).output().unwrap();
    let span = started.elapsed();
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
    println!("{} {cpu} {}", ms(span), usage.max_rss() / 1024);
}

/// What the binary takes for `args` in `dir`.
fn took(dir: &Path, args: &[&str]) -> Took {
    let text = child(&[&["--measure", dir.to_str().unwrap()], args].concat());
    let words: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Took { ms: words[0], cpu_ms: words[1], mib: words[2] }
}

/// The best of `times` fresh runs of a pipeline.
fn run(times: usize, pipeline: &str) -> Took {
    let runs = (0..times).map(|_| {
        let dir = temp();
        std::fs::write(dir.path().join("bench.toml"), pipeline).unwrap();
        took(dir.path(), &["run", "bench.toml", "-q", "--data-dir", "data"])
    });
    runs.min_by(|a, b| a.ms.total_cmp(&b.ms)).unwrap()
}

/// The best of three resumes of a run that has but its last step to do.
fn resume() -> Took {
    let runs = (0..3).map(|_| {
        let dir = temp();
        std::fs::write(dir.path().join("bench.toml"), fan(10_000)).unwrap();
        took(dir.path(), &["run", "bench.toml", "-q", "--data-dir", "data"]);
        let db = rusqlite::Connection::open(dir.path().join("data/atoll.db")).unwrap();
        let first = "select min(seq) from fact where address = 'last'";
        let cut: i64 = db.query_row(first, [], |row| row.get(0)).unwrap();
        db.execute("delete from fact where seq >= ?", [cut]).unwrap();
        db.execute("update run set status = 'running', code = null, finished_at = null", []).unwrap();
        drop(db);
        took(dir.path(), &["resume", "last", "-q", "--data-dir", "data"])
    });
    runs.min_by(|a, b| a.ms.total_cmp(&b.ms)).unwrap()
}

fn plan(text: &str) -> Arc<Plan> {
    let sources = MemorySources::new([("bench.toml", text)]);
    let loaded = load("bench.toml", &sources, &Catalog::new().verb(Set), &[]);
    loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

/// The engine alone: no store, no runtime, every order answered at once.
fn engine_alone(items: usize) -> (Duration, usize) {
    let text = format!(
        "atoll = 1\nname = \"wide\"\n[steps.all.each]\nover = \"range({items})\"\nparallel = 256\n[steps.all.steps.one]\nset = {{ n = \"{{{{ item }}}}\" }}\n[steps.all.steps.two]\nset = {{ n = \"{{{{ steps.one.output.n + 1 }}}}\" }}\n"
    );
    let plan = plan(&text);
    let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
    let settings = Settings { lane: 256, ..Settings::default() };
    let started = Instant::now();
    let mut run = Run::new(RunId::new("bench"), plan, blobs.clone(), settings);
    run.begin(0, serde_json::json!({}), 1).unwrap();
    let mut facts = 0;
    loop {
        let turn = run.next(0).unwrap();
        facts += turn.records.len();
        for (_, bytes) in &turn.blobs {
            blobs.put(bytes).unwrap();
        }
        if turn.orders.is_empty() {
            assert!(matches!(run.status(), RunStatus::Finished { code: 0, .. }));
            return (started.elapsed(), facts);
        }
        for order in turn.orders {
            let Order::Run(attempt) = order else { continue };
            let result = Ok(Output::free(attempt.with));
            let report =
                Report::Ran { address: attempt.address, attempt: attempt.number, result, cached: false };
            run.report(0, report).unwrap();
        }
    }
}

fn cold_start() -> (f64, f64) {
    let dir = temp();
    std::fs::write(dir.path().join("hello.toml"), "atoll = 1\n[steps.hello]\nset = { word = \"hello\" }\n")
        .unwrap();
    let mut ours = Vec::new();
    let mut floor = Vec::new();
    for i in 0..20 {
        let started = Instant::now();
        let data = format!("data{i}");
        let args = ["run", "hello.toml", "--data-dir", &data];
        let out =
            Command::new(env!("CARGO_BIN_EXE_atoll")).current_dir(dir.path()).args(args).output().unwrap();
        ours.push(ms(started.elapsed()));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let started = Instant::now();
        child(&["--bare"]);
        floor.push(ms(started.elapsed()));
    }
    ours.sort_by(f64::total_cmp);
    floor.sort_by(f64::total_cmp);
    (ours[10], floor[10])
}

fn row(what: &str, took: Took, floor: Option<f64>, goal: &str) {
    let beside = floor.map_or(" | ".to_owned(), |floor| format!("{floor:.0} ms | {:.1}", took.ms / floor));
    println!(
        "| {what} | {:.0} ms, {:.0} ms of processors, {:.0} MiB | {beside} | {goal} |",
        took.ms, took.cpu_ms, took.mib
    );
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "--measure", dir, args @ ..] => return measure(dir, args),
        [_, "--bare"] => {
            bare(temp().path(), 1, 1);
            return;
        }
        _ => {}
    }
    println!("| what | atoll | bare program, same commits | ratio | goal |\n|---|---|---|---|---|");
    let (ours, floor) = cold_start();
    println!(
        "| cold start of a one-step `set` pipeline, median of 20 | {ours:.1} ms | {floor:.1} ms | {:.1} | ≤ 10 ms |",
        ours / floor
    );
    let beside = |rows: usize| Some(best(3, || bare(temp().path(), rows, TOGETHER)));
    row("chain of 1,000 `set` steps", run(3, &chain(1_000)), beside(2_002), "");
    let small = run(3, &fan(10_000));
    row("`each` over 10,000 one-step items", small, beside(30_006), "≤ 500 ms, ≤ 64 MiB");
    let large = run(3, &fan(100_000));
    let times = format!("`each` over 100,000: {:.1} times as long", large.ms / small.ms);
    row(&times, large, None, "≤ 11 times");
    row("resume of a run with 10,000 items done, whole process", resume(), None, "≤ 100 ms");
    row(
        "`compute`: 10,000 random walks, 250,000 rounds",
        run(3, WALKS),
        beside(20_003),
        "≤ 1,000 ms of processors",
    );
    let rounds = run(3, ROUNDS);
    row("`loop` of 4,000 rounds that add to a list", rounds, beside(12_003), "");
    let more = run(1, &ROUNDS.replace("4000", "16000"));
    let times = format!("`loop` of 16,000: {:.1} times the processors' time", more.cpu_ms / rounds.cpu_ms);
    row(&times, more, None, "≤ 4.5 times");
    let (alone, facts) = engine_alone(12_800);
    println!(
        "| the engine alone, 12,800 items × 2 steps, {facts} facts | {:.0} ms | | | < 2,000 ms |",
        ms(alone)
    );
    let dir = temp();
    std::fs::write(dir.path().join("large.toml"), chain(5_000)).unwrap();
    row("`check` of a 5,000-step pipeline", took(dir.path(), &["check", "large.toml"]), None, "≤ 1,000 ms");
}
