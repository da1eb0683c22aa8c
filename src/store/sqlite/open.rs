//! Opens the database: settings, which are read back, and the schema with its migrations.
#![expect(clippy::disallowed_methods, reason = "the door to the directory of the database")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::fault;
use crate::store::{StoreError, claim};

/// What a power failure may lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged: every group is flushed to disk.
    #[default]
    Full,
    /// The last moments; the end of a process loses nothing.
    Normal,
}

const BUSY_MS: i64 = 5_000;
const APPLICATION: i64 = 0x4154_4F4C;

/// Each migrates the schema from version = index to the next one.
const MIGRATIONS: [&str; 2] = ["
    create table run (
        id text primary key, pipeline text not null, plan text not null, status text not null, code integer,
        started_at integer not null, finished_at integer, spent text not null, score real, outputs text
    ) strict, without rowid;
    create index run_by_age on run (started_at desc, id desc);
    create table fact (
        run text not null, seq integer not null, at integer not null, kind text not null, address text not null,
        attempt integer not null, body text not null, primary key (run, seq)
    ) strict, without rowid;
    create table blob (digest blob primary key, at integer not null, bytes blob not null) strict;
    create table cache (key blob primary key, at integer not null, value text not null) strict;
", "
    create table signal (
        id integer primary key autoincrement, run text not null, address text not null, question text,
        command text not null, value text not null, by text not null, at integer not null, seq integer, refusal text
    ) strict;
    create index signal_to_take on signal (run, id) where seq is null and refusal is null;
"];

/// The connection of the writer thread.
pub(super) fn writer(path: &Path, locks: &Path, durability: Durability) -> Result<Connection, StoreError> {
    let unwritable =
        |e: std::io::Error| StoreError::ReadOnly { path: path.to_owned(), message: e.to_string() };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(unwritable)?;
    }
    let _alone = claim::lock_opening(locks).map_err(unwritable)?;
    let failed = |e: rusqlite::Error| fault::of(path, &e);
    if !path.exists() {
        make(path, locks)?;
    }
    let mut db = Connection::open(path).map_err(failed)?;
    distrust(&db).map_err(failed)?;
    db.pragma_update(None, "busy_timeout", BUSY_MS).map_err(failed)?;
    let version = refuse_foreign(&db, path)?;
    settle(&db, path, durability)?;
    migrate(&mut db, version).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// Creates an empty database with one flush and a rename, instead of a flush for each table.
fn make(path: &Path, locks: &Path) -> Result<(), StoreError> {
    let unwritable =
        |e: std::io::Error| StoreError::ReadOnly { path: path.to_owned(), message: e.to_string() };
    let failed = |e: rusqlite::Error| fault::of(path, &e);
    let draft = locks.join("new.db");
    let beside = |file: &Path, end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        std::path::PathBuf::from(name)
    };
    // Removes an unfinished draft and logs of a deleted database, which would be used for the new one.
    let logs = ["-wal", "-shm", "-journal"];
    let of_both = logs.iter().flat_map(|end| [beside(&draft, end), beside(path, end)]);
    for left in of_both.chain([draft.clone()]) {
        match std::fs::remove_file(left) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(unwritable(e)),
            _ => {}
        }
    }
    let mut db = Connection::open(&draft).map_err(failed)?;
    // This must come first, because the change of the mode would be flushed as well.
    db.pragma_update(None, "synchronous", 0).map_err(failed)?;
    db.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    migrate(&mut db, 0).map_err(failed)?;
    db.close().map_err(|(_, e)| failed(e))?;
    std::fs::File::open(&draft).and_then(|file| file.sync_all()).map_err(unwritable)?;
    std::fs::rename(&draft, path).map_err(unwritable)
}

/// Disables triggers, views and functions of the database itself, which may be part of an untrusted
/// project. Our tables need none.
fn distrust(db: &Connection) -> Result<(), rusqlite::Error> {
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    ] {
        db.set_db_config(setting, on)?;
    }
    Ok(())
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let failed = |e: rusqlite::Error| fault::of(path, &e);
    let db = Connection::open_with_flags(path, reading()).map_err(failed)?;
    let looked = db.query_row("select count(*) from sqlite_schema", [], |_| Ok(()));
    let db = match looked {
        // If there is no log and none can be created, the file is complete and cannot change.
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !has_log(path) => {
            Connection::open_with_flags(unchanging(path), reading() | OpenFlags::SQLITE_OPEN_URI)
                .map_err(failed)?
        }
        looked => looked.map(|()| db).map_err(failed)?,
    };
    distrust(&db).map_err(failed)?;
    db.pragma_update(None, "busy_timeout", BUSY_MS).map_err(failed)?;
    db.pragma_update(None, "cache_size", -2_048).map_err(failed)?;
    Ok(db)
}

fn reading() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// The URI of an immutable file, see <https://sqlite.org/uri.html>.
fn unchanging(path: &Path) -> String {
    let spelt = |byte: &u8| match byte {
        b'%' | b'?' | b'#' | 0x80.. => format!("%{byte:02x}"),
        _ => char::from(*byte).to_string(),
    };
    let path: String = path.as_os_str().as_encoded_bytes().iter().map(spelt).collect();
    format!("file:{path}?immutable=1")
}

/// The version of a database, which must be ours or empty.
pub(super) fn refuse_foreign(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    let failed = |e: rusqlite::Error| fault::of(path, &e);
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed);
    let found = number("pragma user_version")?;
    let application = number("pragma application_id")?;
    let tables = number("select count(*) from sqlite_schema")?;
    let supported = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match application {
        APPLICATION if found > supported => {
            Err(StoreError::Newer { path: path.to_owned(), found, supported })
        }
        APPLICATION => Ok(found),
        0 if tables == 0 && found == 0 => Err(StoreError::Empty(path.to_owned())),
        _ => Err(StoreError::Foreign(path.to_owned())),
    }
}

/// Changes the settings for durability and bounded files, and reads each back.
fn settle(db: &Connection, path: &Path, durability: Durability) -> Result<(), StoreError> {
    let synchronous = match durability {
        Durability::Full => 2,
        Durability::Normal => 1,
    };
    let settings = [
        ("journal_mode", Cell::Text("wal".to_owned())),
        ("synchronous", Cell::Integer(synchronous)),
        ("busy_timeout", Cell::Integer(BUSY_MS)),
        ("journal_size_limit", Cell::Integer(16 << 20)),
        ("wal_autocheckpoint", Cell::Integer(1_000)),
        ("cache_size", Cell::Integer(-8_192)),
        ("trusted_schema", Cell::Integer(0)),
    ];
    let failed = |e: rusqlite::Error| fault::of(path, &e);
    for (pragma, wanted) in settings {
        db.pragma_update(None, pragma, &wanted).map_err(failed)?;
        let found: Cell = db.pragma_query_value(None, pragma, |row| row.get(0)).map_err(failed)?;
        if found != wanted {
            let (wanted, found) = (written(&wanted), written(&found));
            return Err(StoreError::Setting { path: path.to_owned(), pragma, wanted, found });
        }
    }
    Ok(())
}

fn written(cell: &Cell) -> String {
    match cell {
        Cell::Integer(n) => n.to_string(),
        Cell::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn migrate(db: &mut Connection, version: i64) -> Result<(), rusqlite::Error> {
    for (to, sql) in (1_i64..).zip(MIGRATIONS) {
        if to > version {
            let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change.execute_batch(sql)?;
            change.pragma_update(None, "application_id", APPLICATION)?;
            change.pragma_update(None, "user_version", to)?;
            change.commit()?;
        }
    }
    Ok(())
}

/// Identity and length of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    device: u64,
    inode: u64,
    bytes: u64,
}

impl FileState {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self { device: file.dev(), inode: file.ino(), bytes: file.len() })
    }

    /// Whether this can be a later state than `before`: it is the same file and has not shrunk.
    pub(super) fn continues(self, before: Self) -> bool {
        (self.device, self.inode) == (before.device, before.inode) && self.bytes >= before.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_as_it_was_asked_for() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("atoll.db");
        for (durability, synchronous) in [(Durability::Full, 2), (Durability::Normal, 1)] {
            let db = writer(&path, &place.path().join("locks"), durability).unwrap();
            let number = |pragma: &str| -> i64 { db.pragma_query_value(None, pragma, |r| r.get(0)).unwrap() };
            assert_eq!(number("synchronous"), synchronous);
            assert_eq!(number("wal_autocheckpoint"), 1_000);
            assert_eq!(number("busy_timeout"), BUSY_MS);
            assert_eq!(number("user_version"), 2);
            let mode: String = db.pragma_query_value(None, "journal_mode", |r| r.get(0)).unwrap();
            assert_eq!(mode, "wal");
        }
    }

    #[test]
    fn logs_of_a_database_that_is_gone_are_not_taken_for_those_of_the_next() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("atoll.db");
        let (locks, log) = (place.path().join("locks"), place.path().join("atoll.db-wal"));
        let db = writer(&path, &locks, Durability::Full).unwrap();
        db.execute("insert into cache values (x'00', 1, 'old')", []).unwrap();
        let stale = std::fs::read(&log).unwrap();
        drop(db);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&log, stale).unwrap();
        let db = writer(&path, &locks, Durability::Full).unwrap();
        let left: i64 = db.query_row("select count(*) from cache", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_setting_that_does_not_take_is_refused() {
        // A database in memory cannot keep a write-ahead log.
        let db = Connection::open_in_memory().unwrap();
        let error = settle(&db, Path::new(":memory:"), Durability::Full).unwrap_err();
        assert!(
            matches!(&error, StoreError::Setting { pragma: "journal_mode", wanted, found, .. } if wanted == "wal" && found == "memory"),
            "{error}"
        );
    }
}
