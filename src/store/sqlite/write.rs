use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::read::{signed, unsigned};
use crate::clock::Millis;
use crate::id::RunId;
use crate::store::{FactRow, GcReport, RunSummary, Settled, Signal};
use crate::value::Digest;

type WriteResult<T> = Result<T, rusqlite::Error>;

/// Age in milliseconds after which putting a blob again renews its time.
const REFRESH_MS: i64 = 60_000;

pub(super) fn blob(db: &Connection, digest: &Digest, at: Millis, bytes: &[u8]) -> WriteResult<()> {
    let sql = "insert into blob (digest, at, bytes) values (?, ?, ?)
               on conflict do update set at = excluded.at, bytes = excluded.bytes
               where at < excluded.at - ? or bytes != excluded.bytes";
    let cells = params![&digest.as_bytes()[..], signed(at), bytes, REFRESH_MS];
    db.prepare_cached(sql)?.execute(cells).map(drop)
}

pub(super) fn cache(db: &Connection, key: &Digest, at: Millis, text: &str) -> WriteResult<()> {
    let sql = "insert or replace into cache (key, at, value) values (?, ?, ?)";
    db.prepare_cached(sql)?.execute(params![&key.as_bytes()[..], signed(at), text]).map(drop)
}

/// Inserts the summary of a run; returns `false` if the run exists.
pub(super) fn create(db: &Connection, run: &RunId, head: &RunSummary) -> WriteResult<bool> {
    let sql =
        "insert into run (id, pipeline, plan, status, code, started_at, finished_at, spent, score, outputs)
               values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing";
    put_head(db, sql, run, head)
}

/// Replaces the summary of `run`; returns `false` if the run does not exist.
pub(super) fn replace_head(db: &Connection, run: &RunId, head: &RunSummary) -> WriteResult<bool> {
    let sql =
        "update run set pipeline = ?2, plan = ?3, status = ?4, code = ?5, started_at = ?6, finished_at = ?7,
               spent = ?8, score = ?9, outputs = ?10 where id = ?1";
    put_head(db, sql, run, head)
}

fn put_head(db: &Connection, sql: &str, run: &RunId, head: &RunSummary) -> WriteResult<bool> {
    let spent =
        serde_json::to_string(&head.spent).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    let changed = db.prepare_cached(sql)?.execute(params![
        run.as_str(),
        head.pipeline,
        head.plan.to_string(),
        head.status,
        head.code,
        signed(head.started_at),
        head.finished_at.map(signed),
        spent,
        head.score,
        head.outputs.as_ref().map(ToString::to_string),
    ])?;
    Ok(changed > 0)
}

/// The number of the last fact of `run`; `None` if the run does not exist.
pub(super) fn last(db: &Connection, run: &RunId) -> WriteResult<Option<u64>> {
    let sql = "select (select count(*) from run where id = ?1), (select max(seq) from fact where run = ?1)";
    let (runs, last): (i64, Option<i64>) =
        db.prepare_cached(sql)?.query_row([run.as_str()], |cells| Ok((cells.get(0)?, cells.get(1)?)))?;
    Ok((runs > 0).then(|| last.map_or(0, unsigned)))
}

/// Inserts `rows` with the numbers after `last`.
pub(super) fn facts(db: &Connection, run: &RunId, last: u64, rows: &[FactRow]) -> WriteResult<u64> {
    let sql = "insert into fact (run, seq, at, kind, address, attempt, body) values (?, ?, ?, ?, ?, ?, ?)";
    let mut statement = db.prepare_cached(sql)?;
    let mut seq = last;
    for row in rows {
        seq += 1;
        let (seq, at) = (signed(seq), signed(row.at));
        statement.execute(params![
            run.as_str(),
            seq,
            at,
            row.kind,
            row.address.as_str(),
            row.attempt,
            row.body
        ])?;
    }
    Ok(seq)
}

/// Inserts a signal; `None` if the run does not exist.
pub(super) fn signal(db: &Connection, signal: &Signal) -> WriteResult<Option<u64>> {
    let sql = "insert into signal (run, address, question, command, value, by, at)
               select ?1, ?2, ?3, ?4, ?5, ?6, ?7 where exists (select 1 from run where id = ?1)";
    let written = db.prepare_cached(sql)?.execute(params![
        signal.run.as_str(),
        signal.address.as_str(),
        signal.question.map(|digest| digest.to_string()),
        signal.command,
        signal.value.to_string(),
        signal.by,
        signed(signal.at),
    ])?;
    Ok((written > 0).then(|| unsigned(db.last_insert_rowid())))
}

/// Sets the result of a signal, unless it already has one.
pub(super) fn settle(db: &Connection, id: u64, settled: &Settled) -> WriteResult<()> {
    let sql = "update signal set seq = ?, refusal = ? where id = ? and seq is null and refusal is null";
    let (seq, refusal) = match settled {
        Settled::Taken(seq) => (Some(signed(*seq)), None),
        Settled::Refused(why) => (None, Some(why)),
    };
    db.prepare_cached(sql)?.execute(params![seq, refusal, signed(id)]).map(drop)
}

/// Deletes `run`; returns `false` if it does not exist.
pub(super) fn remove(db: &Connection, run: &RunId) -> WriteResult<bool> {
    db.execute("delete from fact where run = ?", [run.as_str()])?;
    db.execute("delete from signal where run = ?", [run.as_str()])?;
    Ok(db.execute("delete from run where id = ?", [run.as_str()])? > 0)
}

pub(super) fn sweep(db: &Connection, live: &HashSet<Digest>, before: Millis) -> WriteResult<GcReport> {
    let mut swept = GcReport::default();
    let mut old = db.prepare("select rowid, lower(hex(digest)), length(bytes) from blob where at < ?")?;
    let mut cells = old.query([signed(before)])?;
    let mut gone: Vec<i64> = Vec::new();
    while let Some(cell) = cells.next()? {
        let digest = Digest::parse(cell.get_ref(1)?.as_str()?);
        if digest.is_none_or(|digest| !live.contains(&digest)) {
            gone.push(cell.get(0)?);
            swept.blobs += 1;
            swept.bytes += unsigned(cell.get(2)?);
        }
    }
    let mut delete = db.prepare("delete from blob where rowid = ?")?;
    for row in gone {
        delete.execute([row])?;
    }
    Ok(swept)
}
