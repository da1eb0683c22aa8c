//! The published figures of the engine, each beside the least program that commits the same things, measured in the
//! same run. `cargo bench --bench figures` prints the table of `docs/figures.md`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement measures time, starts processes and prints"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atoll::clients::clock::SystemClock;
use atoll::driver::{Begin, DriveError, Event, House, Job, Wires, drive};
use atoll::engine::{Fact, Order, Report, Run, Settings as EngineSettings, Standing};
use atoll::id::RunId;
use atoll::plan::{MemorySources, Plan, load};
use atoll::store::{Durability, Owner, Sqlite};
use atoll::verb::{Blobs, Catalog, MemoryBlobs, Output, SecretText, Secrets};
use atoll::verbs::Set;

struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _: &str) -> Option<SecretText> {
        None
    }
    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

fn plan(text: &str) -> Arc<Plan> {
    let sources = MemorySources::new([("bench.toml", text)]);
    let loaded = load("bench.toml", &sources, &Catalog::new().verb(Set), &[]);
    loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn house(dir: &Path) -> House {
    House {
        catalog: Catalog::new().verb(Set),
        store: Arc::new(
            Sqlite::open(&dir.join("atoll.db"), Durability::Full, Arc::new(SystemClock)).unwrap(),
        ),
        clock: Arc::new(SystemClock),
        owner: Owner { pid: std::process::id(), started_at: 0, host: "bench".into() },
        secrets: Arc::new(NoSecrets),
        grants: Arc::default(),
        project: dir.into(),
        scratch: dir.join("scratch"),
        lanes: indexmap::IndexMap::from([("pure".to_owned(), 256)]),
        caps: indexmap::IndexMap::new(),
    }
}

/// Carries a run out; hands every fact to `hear`.
fn go(dir: &Path, plan: &Arc<Plan>, begin: Begin, hear: impl Fn(&Event) + Send + Sync + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let house = house(dir);
    let (_tell, commands) = tokio::sync::mpsc::channel(1);
    let job = Job { run: RunId::new("bench"), plan: plan.clone(), begin };
    let events = Arc::new(move |events: Vec<Event>| events.iter().for_each(&hear));
    let wires = Wires { events, notes: false, commands, ask: None };
    let outcome: Result<_, DriveError> = runtime.block_on(drive(&house, job, wires));
    assert!(matches!(outcome.unwrap().standing, Standing::Finished { code: 0, .. }));
}

fn fresh() -> Begin {
    Begin::Fresh { inputs: serde_json::json!({}), seed: 1 }
}

fn chain(length: usize) -> String {
    let mut text = "atoll = 1\nname = \"chain\"\n[steps.s0]\nset = { n = 0 }\n".to_owned();
    for i in 1..length {
        let last = i - 1;
        write!(text, "[steps.s{i}]\nset = {{ n = \"{{{{ steps.s{last}.output.n + 1 }}}}\" }}\n").unwrap();
    }
    text
}

fn fan(items: usize) -> String {
    format!(
        "atoll = 1\nname = \"fan\"\n[steps.all.each]\nover = \"range({items})\"\nparallel = 256\n[steps.all.steps.one]\nset = {{ n = \"{{{{ item }}}}\" }}\n"
    )
}

/// The least that does the same commits: `per` rows of the size of ours in each of `commits` transactions.
fn bare(dir: &Path, commits: usize, per: usize) -> Duration {
    let mut db = rusqlite::Connection::open(dir.join("bare.db")).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    db.execute_batch("create table fact(run text, seq integer, at integer, kind text, address text, attempt integer, body text, primary key(run, seq)) strict, without rowid").unwrap();
    let body = r#"{"fact":"succeeded","output":{"value":{"n":100}}}"#;
    let started = Instant::now();
    let mut seq = 0_i64;
    for _ in 0..commits {
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        {
            let mut insert = tx.prepare_cached("insert into fact values(?,?,?,?,?,?,?)").unwrap();
            for _ in 0..per {
                seq += 1;
                insert
                    .execute(rusqlite::params![
                        "bench",
                        seq,
                        1_700_000_000_000_i64,
                        "succeeded",
                        "s100",
                        1,
                        body
                    ])
                    .unwrap();
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

fn best(times: usize, mut run: impl FnMut() -> Duration) -> Duration {
    (0..times).map(|_| run()).min().unwrap()
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// Runs this program again with `args`; what it prints is the answer.
fn child(args: &[&str]) -> String {
    let out = Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// A child: a fan of `items`; prints milliseconds and MiB.
fn fan_child(items: usize) {
    let dir = temp();
    let plan = plan(&fan(items));
    let started = Instant::now();
    go(dir.path(), &plan, fresh(), |_| {});
    println!("{} {}", ms(started.elapsed()), peak_mib());
}

fn fan_of(items: usize) -> (f64, f64) {
    let runs: Vec<(f64, f64)> = (0..3)
        .map(|_| {
            let text = child(&["--child-fan", &items.to_string()]);
            let mut words = text.split_whitespace().map(|word| word.parse::<f64>().unwrap());
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    runs.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

const RESUMED: &str = r#"
atoll = 1
name = "resumed"
[steps.all.each]
over = "range(10000)"
parallel = 256
[steps.all.steps.one]
set = { n = "{{ item }}" }
[steps.last]
needs = ["all"]
set = { n = 1 }
"#;

/// A child: goes on with a run of 10,000 items done; prints the milliseconds from the start of the process's work to
/// the first new step.
fn resume_child(dir: &str) {
    let started = Instant::now();
    let plan = plan(RESUMED);
    let first = Arc::new(Mutex::new(None));
    let heard = first.clone();
    go(Path::new(dir), &plan, Begin::Resume, move |event| {
        if let Event::Fact { record, .. } = event
            && matches!(record.fact, Fact::Started { .. })
        {
            heard.lock().unwrap().get_or_insert_with(|| started.elapsed());
        }
    });
    println!("{}", ms(first.lock().unwrap().expect("a step starts")));
}

/// A journal that ends right before the last step.
fn resumable(dir: &Path) {
    let plan = plan(RESUMED);
    go(dir, &plan, fresh(), |_| {});
    let db = rusqlite::Connection::open(dir.join("atoll.db")).unwrap();
    let cut: i64 =
        db.query_row("select min(seq) from fact where address = 'last'", [], |row| row.get(0)).unwrap();
    db.execute("delete from fact where seq >= ?", [cut]).unwrap();
}

/// The engine alone: no store, no runtime, every order answered at once.
fn engine_alone(items: usize) -> (Duration, usize) {
    let text = format!(
        "atoll = 1\nname = \"wide\"\n[steps.all.each]\nover = \"range({items})\"\nparallel = 256\n[steps.all.steps.one]\nset = {{ n = \"{{{{ item }}}}\" }}\n[steps.all.steps.two]\nset = {{ n = \"{{{{ steps.one.output.n + 1 }}}}\" }}\n"
    );
    let plan = plan(&text);
    let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
    let settings = EngineSettings { lane: 256, ..EngineSettings::default() };
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
            assert!(matches!(run.standing(), Standing::Finished { code: 0, .. }));
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

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_atoll"))
}

fn cold_start() -> (Duration, Duration) {
    let dir = temp();
    std::fs::write(
        dir.path().join("hello.toml"),
        "atoll = 1\nname = \"hello\"\n[steps.hello]\nset = { word = \"hello\" }\n",
    )
    .unwrap();
    let mut ours = Vec::new();
    let mut floor = Vec::new();
    for i in 0..20 {
        let data = dir.path().join(format!("data{i}"));
        let started = Instant::now();
        let out = Command::new(binary())
            .current_dir(dir.path())
            .args(["run", "hello.toml", "--data-dir"])
            .arg(&data)
            .output()
            .unwrap();
        ours.push(started.elapsed());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let started = Instant::now();
        child(&["--child-hello"]);
        floor.push(started.elapsed());
    }
    ours.sort();
    floor.sort();
    (ours[10], floor[10])
}

fn check_large() -> Duration {
    let dir = temp();
    std::fs::write(dir.path().join("large.toml"), chain(5_000)).unwrap();
    best(3, || {
        let started = Instant::now();
        let out =
            Command::new(binary()).current_dir(dir.path()).args(["check", "large.toml"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        started.elapsed()
    })
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "--child-fan", items] => return fan_child(items.parse().unwrap()),
        [_, "--child-resume", dir] => return resume_child(dir),
        [_, "--child-hello"] => {
            bare(temp().path(), 1, 1);
            return;
        }
        _ => {}
    }
    println!("| what | atoll | bare program, same commits | ratio | goal |\n|---|---|---|---|---|");
    let (ours, floor) = cold_start();
    println!(
        "| cold start of a one-step `set` pipeline, p50 of 20 | {:.1} ms | {:.1} ms | {:.1} | ≤ 10 ms |",
        ms(ours),
        ms(floor),
        ms(ours) / ms(floor)
    );
    let text = plan(&chain(1_000));
    let ours = best(3, || {
        let dir = temp();
        let started = Instant::now();
        go(dir.path(), &text, fresh(), |_| {});
        started.elapsed()
    });
    let floor = best(3, || bare(temp().path(), 1_001, 2));
    println!(
        "| chain of 1,000 `set` steps, FULL, one fsync a step | {:.0} ms | {:.0} ms | {:.2} | ≤ 1.5 |",
        ms(ours),
        ms(floor),
        ms(ours) / ms(floor)
    );
    let (small, small_mib) = fan_of(10_000);
    let floor = best(3, || bare(temp().path(), 40, 750));
    println!(
        "| `each` over 10,000 one-step items | {small:.0} ms = {:.1} µs an item, {small_mib:.0} MiB | {:.0} ms | {:.1} | ≤ 50 µs, ≤ 64 MiB |",
        small / 10.0,
        ms(floor),
        small / ms(floor)
    );
    let (large, large_mib) = fan_of(100_000);
    println!(
        "| `each` over 100,000 one-step items | {large:.0} ms, {large_mib:.0} MiB | | {:.1} × the time of 10,000 | ≤ 11 |",
        large / small
    );
    let resumed = best(3, || {
        let dir = temp();
        resumable(dir.path());
        Duration::from_secs_f64(
            child(&["--child-resume", dir.path().to_str().unwrap()]).trim().parse::<f64>().unwrap() / 1e3,
        )
    });
    println!(
        "| resume of a run with 10,000 items done, to the first new step | {:.0} ms | | | ≤ 100 ms |",
        ms(resumed)
    );
    let (alone, facts) = engine_alone(12_800);
    println!(
        "| the engine alone, 12,800 items × 2 steps, {facts} facts | {:.0} ms | | | < 2,000 ms |",
        ms(alone)
    );
    println!("| `check` of a 5,000-step pipeline | {:.0} ms | | | ≤ 1,000 ms |", ms(check_large()));
}
