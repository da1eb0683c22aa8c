//! `kill -9` at any moment: recorded results are neither lost nor repeated, and the run ends with the right
//! outputs.
//! `ATOLL_KILLS` is the number of kills (default: 50), `ATOLL_SEED` the seed for their times:
//!
//! ```sh
//! ATOLL_KILLS=1000 cargo nextest run --test suite --no-capture kill9::a_run_survives
//! ```
#![expect(clippy::disallowed_methods, reason = "tests read their settings and keep standard error")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::BufReader;
use std::process::Stdio;
use std::sync::Arc;

use atoll::driver::journal;
use atoll::engine::{Fact, Record};
use atoll::id::RunId;
use atoll::store::{Durability, Sqlite, Store};
use atoll::system_clock::SystemClock;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::binary::Project;
use crate::fifo::{Fifo, Group, processes_with, was_killed, write_line};

/// Maximum number of concurrent steps.
const SLOTS: u64 = 4;
const ITEMS: u64 = 24;
const ROUNDS: u64 = 5;
/// Steps with an effect: a chain of five, two per item, one per round, and the last.
const STEPS: usize = 5 + 2 * 24 + 5 + 1;

/// A chain, a fan-out with a chain in each item, and a loop. Every step writes its address to the pipe and
/// doubles a number.
fn mixed() -> String {
    let step = |at: &str, address: &str, number: &str| {
        format!(
            "[steps.{at}]\nidempotent = true\nshell = {{ argv = [\"sh\", \"-c\", 'echo \"$1\" > \"$2\"; echo $(($3 * 2 + 1))', \
             \"sh\", \"{address}\", \"{{{{ inputs.pipe }}}}\", \"{number}\"] }}\n\n"
        )
    };
    let of = |step: &str| format!("{{{{ steps.{step}.output.stdout | trim }}}}");
    let mut text = String::from(
        "atoll = 1\nname = \"mixed\"\nsummary = \"doubles numbers\"\n\n[inputs.pipe]\ntype = \"string\"\nrequired = true\n\n",
    );
    text += &step("c1", "c1", "1");
    for n in 2..=5 {
        text += &step(&format!("c{n}"), &format!("c{n}"), &of(&format!("c{}", n - 1)));
    }
    let fan = format!(
        "[steps.fan.each]\nover = \"range({ITEMS})\"\nresult = \"steps.two.output.stdout | trim | int\"\n\n"
    );
    text += &fan;
    text += &step("fan.steps.one", "fan[{{ index }}]/one", "+{{ item }}");
    text += &step("fan.steps.two", "fan[{{ index }}]/two", &of("one"));
    let rounds = format!(
        "[steps.rounds.loop]\nmax = \"{ROUNDS}\"\nresult = \"{{ 'n': state.n }}\"\nstate = {{ n = \"1\" }}\n\
         next = {{ n = \"steps.grow.output.stdout | trim | int\" }}\n\n"
    );
    text += &rounds;
    text += &step("rounds.steps.grow", "rounds#{{ loop.index }}/grow", "+{{ state.n }}");
    text += &step("last", "last", "+{{ steps.fan.output | sum }}");
    text + "[outputs]\nchain = \"steps.c5.output.stdout | trim | int\"\nfan = \"steps.fan.output\"\n\
            rounds = \"steps.rounds.output.n\"\nlast = \"steps.last.output.stdout | trim | int\"\n"
}

fn outputs() -> Value {
    let twice = |times: u64, from: u64| (0..times).fold(from, |n, _| n * 2 + 1);
    let fan: Vec<u64> = (0..ITEMS).map(|item| twice(2, item)).collect();
    let sum = fan.iter().sum::<u64>();
    json!({"chain": twice(5, 1), "fan": fan, "rounds": twice(ROUNDS, 1), "last": twice(1, sum)})
}

/// A sequence of numbers that its seed determines (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// Event after which a process is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// This number of effects of steps.
    Effects(u64),
    /// This number of facts on its event stream. The first ones are those of the resume.
    Facts(u64),
}

/// One run, with everything that was observed from outside.
struct Ordeal {
    project: Project,
    fifo: Fifo,
    effects: BTreeMap<String, u64>,
    groups: Vec<Group>,
    journal: Vec<Record>,
    heard: BTreeMap<u64, Value>,
    kills: u64,
    lost: u64,
}

impl Ordeal {
    fn new() -> Self {
        let project = Project::new()
            .file("pipelines/mixed.toml", &mixed())
            .file("atoll.toml", &format!("[lanes]\nshell = {SLOTS}\n"));
        let fifo = Fifo::new(project.path("effects"));
        Self {
            project,
            fifo,
            effects: BTreeMap::new(),
            groups: Vec::new(),
            journal: Vec::new(),
            heard: BTreeMap::new(),
            kills: 0,
            lost: 0,
        }
    }

    /// Starts the binary, kills it at `moment`, and checks the journal. Returns `true` if it had ended by
    /// itself.
    fn live(&mut self, first: bool, moment: Moment) -> bool {
        let pipe = self.fifo.path().display().to_string();
        let begin = ["run", "mixed", "--pipe", &pipe, "--quiet", "--events", "-"];
        let go_on = ["resume", "last", "--quiet", "--events", "-"];
        let mut command = self.project.command(if first { &begin } else { &go_on });
        let said = self.project.path("stderr");
        command.stderr(std::fs::File::create(&said).expect("a file"));
        let mut group = Group::start(command);
        let mut out = BufReader::new(group.child.stdout.take().expect("its standard output"));
        match moment {
            Moment::Facts(count) => {
                let heard = self.hear(&mut out, count);
                drop(out);
                if heard {
                    group.signal(Signal::SIGKILL);
                }
            }
            Moment::Effects(count) => {
                drop(out);
                let end = self.fifo.path().to_owned();
                let (pid, signal) = (group.pid(), Signal::SIGKILL);
                let waiting = std::thread::spawn(move || {
                    let status = group.wait();
                    write_line(&end, "ended");
                    (status, group)
                });
                if self.feel(count) {
                    let _ = nix::sys::signal::killpg(pid, signal);
                    while self.fifo_line() {}
                }
                group = waiting.join().expect("a status").1;
            }
        }
        let status = group.wait();
        self.groups.push(group);
        self.kills += u64::from(was_killed(status));
        let well = was_killed(status) || status.code() == Some(0);
        assert!(well, "{status}: {}", self.project.read("stderr"));
        self.look();
        !was_killed(status)
    }

    /// Reads `count` facts from the event stream; `false` if the stream ends before.
    fn hear(&mut self, out: &mut impl std::io::BufRead, count: u64) -> bool {
        for _ in 0..count {
            let mut line = String::new();
            if out.read_line(&mut line).expect("a line") == 0 {
                return false;
            }
            let event: Value = serde_json::from_str(&line).expect("JSON");
            if let Some(seq) = event["seq"].as_u64() {
                self.heard.insert(seq, event);
            }
        }
        true
    }

    /// Reads `count` effects; `false` if the process ends before.
    fn feel(&mut self, count: u64) -> bool {
        (0..count).all(|_| self.fifo_line())
    }

    /// Reads one line of the pipe; `false` at the end of the process.
    fn fifo_line(&mut self) -> bool {
        let line = self.fifo.line();
        let effect = line != "ended";
        if effect {
            *self.effects.entry(line).or_default() += 1;
        }
        effect
    }

    fn store(&self) -> Sqlite {
        let path = self.project.path(".atoll/atoll.db");
        Sqlite::open(&path, Durability::Normal, Arc::new(SystemClock)).expect("the store")
    }

    /// Reads the journal. It must continue the previous one and contain all facts that were read from the
    /// event stream.
    fn look(&mut self) {
        let store = self.store();
        let Some(head) = store.heads(1, None).expect("heads").pop() else { return };
        let run: RunId = head.run;
        let mut records = Vec::new();
        let mut bodies = BTreeMap::new();
        journal::read(&store, &run, |seq, record| {
            bodies.insert(seq, serde_json::to_value(&record.fact).expect("a fact"));
            records.push(record);
            Ok(())
        })
        .expect("a journal that can be read");
        let kept = self.journal.iter().zip(&records).filter(|(was, is)| was == is).count();
        self.lost += (self.journal.len() - kept) as u64;
        for (seq, event) in &self.heard {
            let body = bodies.get(seq).and_then(Value::as_object);
            let same = body.is_some_and(|body| body.iter().all(|(key, value)| event[key] == *value));
            self.lost += u64::from(!same);
        }
        self.journal = records;
    }

    /// How often each step was started, and how often it was interrupted.
    fn starts(&self) -> BTreeMap<String, (u64, u64)> {
        let mut starts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for record in &self.journal {
            let entry = || record.address.to_string();
            match record.fact {
                Fact::Started { .. } => starts.entry(entry()).or_default().0 += 1,
                Fact::Interrupted { .. } => starts.entry(entry()).or_default().1 += 1,
                _ => {}
            }
        }
        starts
    }

    /// Steps that were started although they had an outcome.
    fn done_again(&self) -> Vec<String> {
        let mut done = HashSet::new();
        let mut again = Vec::new();
        for record in &self.journal {
            match record.fact {
                Fact::Succeeded { .. } | Fact::Failed { .. } | Fact::Skipped { .. } => {
                    done.insert(record.address.clone());
                }
                Fact::Started { .. } if done.contains(&record.address) => {
                    again.push(record.address.to_string());
                }
                _ => {}
            }
        }
        again
    }

    /// Checks everything at the end. Returns the number of repeated executions.
    fn judge(&mut self) -> u64 {
        self.groups.drain(..).for_each(Group::wait_for_all);
        for effect in self.fifo.rest() {
            *self.effects.entry(effect).or_default() += 1;
        }
        let ran = self.project.run(&["show", "last", "--format", "json"]).exits(0).json();
        assert_eq!(ran["outputs"], outputs());
        assert_eq!(self.lost, 0, "recorded or streamed facts are missing");
        assert_eq!(self.done_again(), [""; 0]);
        let starts = self.starts();
        assert_eq!(starts.len(), STEPS);
        assert_eq!(self.effects.keys().collect::<BTreeSet<_>>(), starts.keys().collect());
        for (address, (started, interrupted)) in &starts {
            assert_eq!(*started, 1 + interrupted, "{address}");
            assert!(self.effects[address] <= *started, "{address}: {:?}", self.effects);
        }
        let again: u64 = starts.values().map(|(started, _)| started - 1).sum();
        assert!(again <= self.kills * SLOTS, "{again} executions too many for {} kills", self.kills);
        self.effects.values().map(|count| count - 1).sum()
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

#[test]
fn a_run_survives_kills_at_any_moment() {
    let (wanted, seed) = (setting("ATOLL_KILLS", 50), setting("ATOLL_SEED", 2026));
    let mut dice = Dice(seed);
    let (mut runs, mut kills, mut again, mut early) = (0, 0, 0, 0);
    while kills < wanted {
        let mut ordeal = Ordeal::new();
        let mut ended = ordeal.live(true, Moment::Effects(1 + dice.roll(29)));
        while !ended {
            let moment = match dice.roll(3) {
                // The first facts of a resume: resumed, interrupted, started.
                0 => Moment::Facts(1 + dice.roll(2 + 2 * SLOTS)),
                _ => Moment::Effects(1 + dice.roll(29)),
            };
            // After the last kill, the run is not disturbed any more.
            let moment = if kills + ordeal.kills < wanted { moment } else { Moment::Effects(u64::MAX) };
            early += u64::from(matches!(moment, Moment::Facts(_)));
            ended = ordeal.live(false, moment);
        }
        again += ordeal.judge();
        kills += ordeal.kills;
        runs += 1;
    }
    println!(
        "seed {seed}: {runs} runs of {STEPS} steps, {kills} kills ({early} of them at the first facts of a resume), \
         {again} effects repeated ({} allowed), 0 recorded facts lost, 0 recorded steps repeated",
        kills * SLOTS
    );
}

#[test]
fn a_killed_run_leaves_no_process_behind() {
    let step = "[steps.STEP]\nidempotent = true\nshell = { argv = [\"sh\", \"-c\", \
                'setsid cat \"$2\" & cat \"$2\" & echo up > \"$1\"; wait', \"sh\", \"{{ inputs.up }}\", \"{{ inputs.never }}\"] }\n";
    let mut text =
        "atoll = 1\nname = \"brood\"\nsummary = \"has children\"\n[inputs]\nup = { type = \"string\" }\n\
                    never = { type = \"string\" }\n"
            .to_owned();
    for name in ["a", "b", "c"] {
        text += &step.replace("STEP", name);
    }
    let project = Project::new().file("pipelines/brood.toml", &text);
    let mut up = Fifo::new(project.path("up"));
    let never = Fifo::new(project.path("never"));
    let (up_path, never_path) = (up.path().display().to_string(), never.path().display().to_string());
    let mut begin = project.command(&["run", "brood", "--up", &up_path, "--never", &never_path, "--quiet"]);
    begin.stdout(Stdio::null()).stderr(Stdio::null());
    let group = Group::start(begin);
    for _ in 0..3 {
        assert_eq!(up.line(), "up");
    }
    // Now each step has a shell and two children, one of them in a separate session.
    assert!(processes_with(&never_path).len() >= 3, "{:?}", processes_with(&never_path));
    group.signal(Signal::SIGKILL);
    group.wait_for_all();
    assert_eq!(processes_with(&never_path), [""; 0]);
}

/// A pipeline whose outputs are stored in a blob.
const LARGE: &str = r#"
atoll = 1
name = "large"
summary = "makes a text"
inputs.n = { type = "int", default = 0 }
steps.a.set = { text = "{{ range(3000) | map('string') | join(' ') }} {{ inputs.n }}" }
outputs = { text = "steps.a.output.text" }
"#;

/// The number that `sql` returns.
fn count(db: &rusqlite::Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_killed_gc_leaves_every_run_whole_or_gone() {
    const RUNS: i64 = 24;
    let project = Project::new().file("pipelines/large.toml", LARGE);
    for n in 0..RUNS {
        project.run(&["run", "large", "--n", &n.to_string(), "--quiet"]).exits(0);
    }
    let db = rusqlite::Connection::open(project.path(".atoll/atoll.db")).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    // Content is old enough to be removed with the last run that names it.
    db.execute("update blob set at = 0", []).unwrap();
    let mut dice = Dice(2026);
    let mut left = RUNS;
    let mut killed = 0;
    while left > 1 {
        let target = left - 1 - i64::try_from(dice.roll(3)).unwrap();
        let mut command = project.command(&["gc", "--keep", "1"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut group = Group::start(command);
        while count(&db, "select count(*) from run") > target.max(1)
            && group.child.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        group.signal(Signal::SIGKILL);
        killed += u32::from(was_killed(group.wait()));

        let heads = project.run(&["runs", "--format", "json", "--limit", "1000"]).exits(0).json();
        let heads = heads["runs"].as_array().unwrap().clone();
        for head in &heads {
            let shown =
                project.run(&["show", head["run"].as_str().unwrap(), "--format", "json"]).exits(0).json();
            assert!(shown["outputs"]["text"].as_str().unwrap().starts_with("0 1 2"), "{shown}");
        }
        left = i64::try_from(heads.len()).unwrap();
        assert_eq!(count(&db, "select count(*) from fact where run not in (select id from run)"), 0);
    }
    println!("{killed} kills inside gc, of {RUNS} runs one is left");
    project.run(&["gc", "--keep", "1"]).exits(0).stdout_has("0 runs");
    project.run(&["show", "last", "--format", "json"]).exits(0);
    project.run(&["run", "large", "--quiet"]).exits(0);
}
