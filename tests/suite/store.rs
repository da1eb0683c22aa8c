//! Tests for every store, and for special features of the store on disk.
#![expect(clippy::disallowed_methods, reason = "looks at the files of the store and mounts small disks")]

use std::path::Path;
use std::sync::Arc;

use atoll::clock::{Clock, ManualClock};
use atoll::id::{Address, RunId};
use atoll::meter::Meter;
use atoll::store::{Append, Durability, FactRow, Memory, Owner, RunSummary, Sqlite, Store, StoreError};
use atoll::value::Digest;
use atoll::verb::{BlobError, Blobs};
use serde_json::json;

fn head(run: &str, pipeline: &str, started_at: u64) -> RunSummary {
    RunSummary {
        run: RunId::new(run),
        pipeline: pipeline.to_owned(),
        plan: Digest::of("plan"),
        status: "running".to_owned(),
        code: None,
        started_at,
        finished_at: None,
        spent: Meter::new(),
        score: None,
        outputs: None,
    }
}

fn row(n: u64, body: String) -> FactRow {
    FactRow { at: 1_000 + n, kind: "done".to_owned(), address: Address::new("a#1/b[2]"), attempt: 3, body }
}

fn rows(range: std::ops::Range<u64>) -> Append {
    Append { rows: range.map(|n| row(n, json!({ "n": n }).to_string())).collect(), ..Append::default() }
}

fn journal(store: &dyn Store, run: &RunId, after: u64) -> Vec<(u64, FactRow)> {
    let mut found = Vec::new();
    store
        .scan(run, after, &mut |seq, row| {
            found.push((seq, row));
            true
        })
        .unwrap();
    found
}

fn owner() -> Owner {
    Owner { pid: 7, started_at: 1, host: "box".to_owned() }
}

fn open(path: &Path) -> Sqlite {
    Sqlite::open(path, Durability::Normal, Arc::new(ManualClock::at(1_000))).unwrap()
}

/// Runs `test` against a store of each kind.
fn each_store(test: impl Fn(&dyn Store, &ManualClock)) {
    let clock = ManualClock::at(1_000);
    test(&Memory::new(Arc::new(clock.clone())), &clock);
    let place = tempfile::tempdir().unwrap();
    for durability in [Durability::Full, Durability::Normal] {
        let clock = ManualClock::at(1_000);
        let path = place.path().join(format!("{durability:?}/atoll.db"));
        test(&Sqlite::open(&path, durability, Arc::new(clock.clone())).unwrap(), &clock);
    }
}

#[test]
fn facts_are_numbered_without_gaps_and_read_back() {
    each_store(|store, _| {
        let (a, b) = (RunId::new("01a"), RunId::new("01b"));
        store.create(&head("01a", "p", 1)).unwrap();
        store.create(&head("01b", "p", 2)).unwrap();
        assert_eq!(store.create(&head("01a", "p", 3)).unwrap_err(), StoreError::Exists(a.clone()));
        let first = store.append(&a, rows(0..700));
        let other = store.append(&b, rows(0..1));
        let second = store.append(&a, rows(700..1_500));
        assert_eq!(second.blocking_wait(), Ok(1_500));
        assert_eq!((first.blocking_wait(), other.blocking_wait()), (Ok(700), Ok(1)));
        assert_eq!(store.append(&a, Append::default()).blocking_wait(), Ok(1_500));
        let all = journal(store, &a, 0);
        assert_eq!(all.len(), 1_500);
        for (n, (seq, found)) in (0..).zip(&all) {
            assert_eq!((*seq, found), (n + 1, &row(n, json!({ "n": n }).to_string())));
        }
        assert_eq!(journal(store, &a, 1_498).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1_499, 1_500]);
        assert_eq!(journal(store, &a, 1_500), []);
        let mut seen = 0;
        store
            .scan(&a, 0, &mut |_, _| {
                seen += 1;
                assert_eq!(store.head(&b).unwrap().unwrap().run, b);
                seen < 3
            })
            .unwrap();
        assert_eq!(seen, 3);
    });
}

#[test]
fn a_run_that_does_not_exist_is_an_error_everywhere() {
    each_store(|store, _| {
        let none = RunId::new("01none");
        let unknown = StoreError::UnknownRun("01none".to_owned());
        assert_eq!(store.append(&none, rows(0..1)).blocking_wait(), Err(unknown.clone()));
        assert_eq!(store.scan(&none, 0, &mut |_, _| true), Err(unknown.clone()));
        assert_eq!(store.remove(&none), Err(unknown.clone()));
        assert_eq!(store.find("01none"), Err(unknown));
        assert_eq!(store.head(&none), Ok(None));
        store.create(&head("01none", "p", 1)).unwrap();
        assert_eq!(store.append(&none, rows(0..1)).blocking_wait(), Ok(1));
    });
}

#[test]
fn heads_are_replaced_whole_and_listed_newest_first() {
    each_store(|store, _| {
        for (run, pipeline, at) in [("01a", "p", 10), ("01b", "q", 30), ("01c", "p", 20)] {
            store.create(&head(run, pipeline, at)).unwrap();
        }
        let mut done = head("01a", "p", 10);
        done.status = "converged".to_owned();
        done.code = Some(0);
        done.finished_at = Some(99);
        done.spent = Meter::new().with("usd", 0.123_456_789).with("calls", 3.0);
        done.score = Some(97.25);
        done.outputs = Some(json!({"b": [1, null], "a": "é"}));
        let run = RunId::new("01a");
        let batch = Append { head: Some(done.clone()), ..rows(0..1) };
        assert_eq!(store.append(&run, batch).blocking_wait(), Ok(1));
        assert_eq!(store.head(&run).unwrap(), Some(done));
        let ids = |limit, pipeline| -> Vec<String> {
            store.heads(limit, pipeline).unwrap().into_iter().map(|h| h.run.to_string()).collect()
        };
        assert_eq!(ids(10, None), ["01b", "01c", "01a"]);
        assert_eq!(ids(2, None), ["01b", "01c"]);
        assert_eq!(ids(10, Some("p")), ["01c", "01a"]);
        assert!(ids(10, Some("none")).is_empty());
    });
}

#[test]
fn a_run_is_found_by_the_beginning_of_its_name() {
    each_store(|store, _| {
        for run in ["01abc", "01abd", "01x", "01xy%"] {
            store.create(&head(run, "p", 1)).unwrap();
        }
        assert_eq!(store.find("01abc").unwrap().as_str(), "01abc");
        assert_eq!(store.find("01xy").unwrap().as_str(), "01xy%");
        assert_eq!(store.find("01x").unwrap().as_str(), "01x");
        assert!(matches!(store.find("01a%"), Err(StoreError::UnknownRun(_))));
        match store.find("01ab") {
            Err(StoreError::Ambiguous { matches, .. }) => assert_eq!(matches.len(), 2),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn blobs_and_reusable_outputs_are_found_at_once_and_later() {
    each_store(|store, _| {
        let big = vec![7; 300_000];
        let blob = store.put(&big).unwrap();
        assert_eq!(store.put(&big).unwrap(), blob);
        assert_eq!(&store.get(&blob.digest).unwrap()[..], &big[..]);
        let empty = store.put(b"").unwrap();
        let missing = Digest::of("missing");
        assert!(matches!(store.get(&missing), Err(BlobError::Missing(d)) if d == missing));
        let key = Digest::of("key");
        assert_eq!(store.cached(&key), Ok(None));
        store.cache(&key, &json!({"z": 1, "a": [2]})).unwrap();
        store.cache(&key, &json!({"z": 2})).unwrap();
        assert_eq!(store.cached(&key), Ok(Some(json!({"z": 2}))));
        store.create(&head("01a", "p", 1)).unwrap();
        assert_eq!(&store.get(&blob.digest).unwrap()[..], &big[..]);
        assert_eq!(&store.get(&empty.digest).unwrap()[..], b"");
        assert_eq!(store.cached(&key), Ok(Some(json!({"z": 2}))));
    });
}

/// A project may contain a database in which other content has the digest of a file.
#[test]
fn content_that_another_program_changed_is_not_believed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("atoll.db");
    let open = || Sqlite::open(&path, Durability::Full, Arc::new(ManualClock::at(1_000))).unwrap();
    let store = open();
    let blob = store.put(b"honest").unwrap();
    store.create(&head("01a", "p", 1)).unwrap();
    drop(store);
    let db = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(db.execute("update blob set bytes = ?", [b"forged".as_slice()]).unwrap(), 1);
    drop(db);
    let store = open();
    assert!(matches!(store.get(&blob.digest), Err(BlobError::Damaged(found)) if found == blob.digest));
    assert_eq!(store.put(b"honest").unwrap(), blob);
    store.create(&head("01b", "p", 1)).unwrap();
    assert_eq!(&store.get(&blob.digest).unwrap()[..], b"honest");
}

/// A database of a project may contain a trigger that answers every question.
#[test]
fn triggers_of_a_database_do_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("atoll.db");
    let open = || Sqlite::open(&path, Durability::Full, Arc::new(ManualClock::at(1_000))).unwrap();
    drop(open());
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("create trigger forge after insert on blob begin delete from blob; end").unwrap();
    drop(db);
    let store = open();
    let blob = store.put(b"honest").unwrap();
    store.create(&head("01a", "p", 1)).unwrap();
    drop(store);
    assert_eq!(&open().get(&blob.digest).unwrap()[..], b"honest");
}

#[test]
fn a_run_has_one_owner() {
    each_store(|store, _| {
        let run = RunId::new("01a");
        store.create(&head("01a", "p", 1)).unwrap();
        let claim = store.claim(&run, owner()).unwrap();
        let held = StoreError::Held { run: run.clone(), owner: owner() };
        assert_eq!(store.claim(&run, Owner::default()).unwrap_err(), held);
        assert_eq!(store.remove(&run), Err(held));
        let _other = store.claim(&RunId::new("01b"), owner()).unwrap();
        drop(claim);
        drop(store.claim(&run, owner()).unwrap());
        store.remove(&run).unwrap();
    });
}

#[test]
fn what_no_run_names_any_more_is_swept_after_a_grace() {
    each_store(|store, clock| {
        for run in ["01a", "01b"] {
            store.create(&head(run, "p", 1)).unwrap();
        }
        let plan = store.put(b"plan").unwrap();
        let leaf = store.put(b"leaf").unwrap();
        let tree = store.put(format!("{{\"files\":\"{}\"}}", leaf.digest).as_bytes()).unwrap();
        let gone = store.put(b"only of b").unwrap();
        let reused = store.put(b"reusable").unwrap();
        store.cache(&Digest::of("key"), &json!({"blob": reused.digest})).unwrap();
        let naming =
            |d: &Digest| Append { rows: vec![row(0, json!({ "tree": d }).to_string())], ..Append::default() };
        store.append(&RunId::new("01a"), naming(&tree.digest)).blocking_wait().unwrap();
        store.append(&RunId::new("01b"), naming(&gone.digest)).blocking_wait().unwrap();
        let late = clock.now() + 1;
        assert_eq!(store.sweep(late).unwrap().blobs, 0);
        store.remove(&RunId::new("01b")).unwrap();
        assert_eq!(store.head(&RunId::new("01b")), Ok(None));
        assert_eq!(store.sweep(clock.now()).unwrap().blobs, 0, "too young");
        let swept = store.sweep(late).unwrap();
        assert_eq!((swept.blobs, swept.bytes), (1, 9));
        assert!(matches!(store.get(&gone.digest), Err(BlobError::Missing(_))));
        for kept in [plan, leaf, tree, reused] {
            store.get(&kept.digest).unwrap();
        }
    });
}

#[test]
fn everything_is_there_after_reopening() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state/atoll.db");
    let run = RunId::new("01a");
    let store = open(&path);
    store.create(&head("01a", "p", 1)).unwrap();
    let blob = store.put(b"content").unwrap();
    let waiting = store.append(&run, rows(0..10));
    store.cache(&Digest::of("key"), &json!(1)).unwrap();
    let lonely = store.put(b"put last, with no fact after it").unwrap();
    drop(store);
    assert_eq!(waiting.blocking_wait(), Ok(10));
    let store = open(&path);
    assert_eq!(journal(&store, &run, 0).len(), 10);
    assert_eq!(&store.get(&blob.digest).unwrap()[..], b"content");
    store.get(&lonely.digest).unwrap();
    assert_eq!(store.cached(&Digest::of("key")), Ok(Some(json!(1))));
    assert_eq!(store.append(&run, rows(10..11)).blocking_wait(), Ok(11));
}

#[test]
fn a_process_that_was_overtaken_writes_no_more() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("atoll.db");
    let (ours, theirs) = (open(&path), open(&path));
    let (run, beside) = (RunId::new("01a"), RunId::new("01b"));
    ours.create(&head("01a", "p", 1)).unwrap();
    ours.create(&head("01b", "p", 1)).unwrap();
    let claim = ours.claim(&run, owner()).unwrap();
    assert!(matches!(theirs.claim(&run, Owner::default()), Err(StoreError::Held { .. })));
    assert_eq!(ours.append(&run, rows(0..1)).blocking_wait(), Ok(1));
    assert_eq!(theirs.append(&run, rows(1..2)).blocking_wait(), Ok(2));
    let overtaken = Err(StoreError::Overtaken(run.clone()));
    let (first, other, second) =
        (ours.append(&run, rows(1..2)), ours.append(&beside, rows(0..3)), ours.append(&run, rows(2..3)));
    assert_eq!((first.blocking_wait(), second.blocking_wait()), (overtaken.clone(), overtaken));
    assert_eq!(other.blocking_wait(), Ok(3));
    drop(claim);
    let _claim = ours.claim(&run, owner()).unwrap();
    assert_eq!(ours.append(&run, rows(2..3)).blocking_wait(), Ok(3));
    assert_eq!(journal(&theirs, &run, 0).len(), 3);
}

#[test]
fn two_openings_at_once_make_one_database() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("atoll.db");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || open(path).create(&head(&format!("01{n}"), "p", n)).unwrap());
        }
    });
    assert_eq!(open(&path).heads(100, None).unwrap().len(), 8);
}

#[test]
fn files_that_are_no_journal_are_refused_with_a_reason() {
    let place = tempfile::tempdir().unwrap();
    let refuse = |name: &str, sql: &str| {
        let path = place.path().join(name);
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        Sqlite::open(&path, Durability::Full, Arc::new(ManualClock::at(0))).err().unwrap()
    };
    let error = refuse("foreign.db", "create table x (y)");
    assert!(matches!(error, StoreError::Foreign(_)), "{error}");
    let newer = "pragma application_id = 0x41544F4C; pragma user_version = 99";
    let error = refuse("newer.db", newer).to_string();
    assert!(error.contains("journal version 99, but this version of atoll supports only up to 2"), "{error}");
    std::fs::write(place.path().join("text.db"), "no database\n".repeat(500)).unwrap();
    let error = Sqlite::open(&place.path().join("text.db"), Durability::Full, Arc::new(ManualClock::at(0)));
    assert!(matches!(error.err(), Some(StoreError::Corrupt { .. })));
    std::fs::write(place.path().join("empty.db"), "").unwrap();
    let error = Sqlite::open(&place.path().join("empty.db"), Durability::Full, Arc::new(ManualClock::at(0)));
    assert!(matches!(error.err(), Some(StoreError::Empty(_))));
    let below = place.path().join("text.db/atoll.db");
    let error = Sqlite::open(&below, Durability::Full, Arc::new(ManualClock::at(0))).err().unwrap();
    assert!(matches!(&error, StoreError::ReadOnly { .. }), "{error}");
}

#[test]
fn the_write_ahead_log_stays_small_while_readers_read() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("atoll.db");
    let store = open(&path);
    let run = RunId::new("01a");
    store.create(&head("01a", "p", 1)).unwrap();
    let body = json!({"text": "x".repeat(20_000)}).to_string();
    let mut largest = 0;
    for _ in 0..60 {
        let batch = Append { rows: (0..50).map(|n| row(n, body.clone())).collect(), ..Append::default() };
        store.append(&run, batch).blocking_wait().unwrap();
        store.scan(&run, 0, &mut |seq, _| seq < 3).unwrap();

        largest = largest.max(std::fs::metadata(place.path().join("atoll.db-wal")).unwrap().len());
    }
    assert!(std::fs::metadata(&path).unwrap().len() > 50 << 20);
    assert!(largest < 16 << 20, "{largest}");
}

/// A disk of `size` KiB; `None`, with the reason printed, where mounting is not allowed.
/// A file system of the given size in KiB, mounted on a directory.
pub struct SmallDisk(pub tempfile::TempDir);

impl SmallDisk {
    /// `None` after a note if it cannot be mounted.
    pub fn mount(kib: u32) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(place.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(place)),
            Ok(output) => {
                eprintln!("skipped: cannot mount a small disk: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: cannot mount a small disk: {error}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let done = std::process::Command::new("mount").args(["-o", options]).arg(self.0.path()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount(1_024) else { return };
    let path = disk.0.path().join("state/atoll.db");
    let run = RunId::new("01a");
    let store = open(&path);
    store.create(&head("01a", "p", 1)).unwrap();
    let body = json!({"text": "x".repeat(20_000)}).to_string();
    let mut acknowledged = 0;
    let error = loop {
        let batch = Append { rows: vec![row(acknowledged, body.clone())], ..Append::default() };
        match store.append(&run, batch).blocking_wait() {
            Ok(seq) => acknowledged = seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(acknowledged > 5);
    assert_eq!(store.append(&run, rows(0..1)).blocking_wait(), Err(error), "the journal has no holes");
    assert_eq!(journal(&store, &run, 0).len() as u64, acknowledged);
    let blob = store.put(&vec![1; 100_000]).unwrap();
    drop(store);
    disk.remount("remount,size=8192k");
    let store = open(&path);
    assert_eq!(journal(&store, &run, 0).len() as u64, acknowledged);
    assert!(store.get(&blob.digest).is_err(), "it was never acknowledged");
    assert_eq!(store.append(&run, rows(0..1)).blocking_wait(), Ok(acknowledged + 1));
}

#[test]
fn a_disk_that_gets_room_again_takes_the_blobs_it_owes() {
    let Some(disk) = SmallDisk::mount(512) else { return };
    let path = disk.0.path().join("atoll.db");
    let run = RunId::new("01a");
    let store = open(&path);
    store.create(&head("01a", "p", 1)).unwrap();
    let blob = store.put(&vec![1; 900_000]).unwrap();
    assert!(matches!(store.append(&run, rows(0..1)).blocking_wait(), Err(StoreError::Full(_))));
    assert_eq!(journal(&store, &run, 0), []);
    disk.remount("remount,size=8192k");
    let _claim = store.claim(&run, owner()).unwrap();
    assert_eq!(store.append(&run, rows(0..1)).blocking_wait(), Ok(1));
    drop(store);
    assert_eq!(open(&path).get(&blob.digest).unwrap().len(), 900_000);
}

#[test]
fn a_disk_that_is_read_only_is_named() {
    let Some(disk) = SmallDisk::mount(1_024) else { return };
    disk.remount("remount,ro");
    let path = disk.0.path().join("atoll.db");
    let error = Sqlite::open(&path, Durability::Full, Arc::new(ManualClock::at(0))).err().unwrap();
    assert!(matches!(&error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("check the permissions"), "{error}");
}
