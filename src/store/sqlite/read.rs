use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row as Cells, params};

use crate::clock::Millis;
use crate::id::{Address, RunId};
use crate::store::digests::each_digest;
use crate::store::{FactRow, RunSummary, Settled, Signal};
use crate::value::Digest;

type ReadResult<T> = Result<T, rusqlite::Error>;

const PAGE_ROWS: i64 = 512;
const PAGE_BYTES: usize = 1 << 20;
const HEAD: &str =
    "select id, pipeline, plan, status, code, started_at, finished_at, spent, score, outputs from run";

/// A page of facts after `after`. The statement ends with the page, so that readers do not block checkpoints.
pub(super) fn facts(db: &Connection, run: &RunId, after: u64) -> ReadResult<Vec<(u64, FactRow)>> {
    let sql = "select seq, at, kind, address, attempt, body from fact where run = ? and seq > ? order by seq limit ?";
    let mut statement = db.prepare_cached(sql)?;
    let mut cells = statement.query(params![run.as_str(), signed(after), PAGE_ROWS])?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(cell) = cells.next()? {
        let row = FactRow {
            at: unsigned(cell.get(1)?),
            kind: cell.get(2)?,
            address: Address::new(cell.get_ref(3)?.as_str()?),
            attempt: cell.get(4)?,
            body: cell.get(5)?,
        };
        bytes += row.body.len();
        page.push((unsigned(cell.get(0)?), row));
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

pub(super) fn head(db: &Connection, run: &RunId) -> ReadResult<Option<RunSummary>> {
    db.prepare_cached(&format!("{HEAD} where id = ?"))?.query_row([run.as_str()], read_head).optional()
}

pub(super) fn heads(db: &Connection, limit: usize, pipeline: Option<&str>) -> ReadResult<Vec<RunSummary>> {
    let order = "order by started_at desc, id desc limit ?2";
    let mut statement = db.prepare_cached(&format!("{HEAD} where ?1 is null or pipeline = ?1 {order}"))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement.query_map(params![pipeline, limit], read_head)?.collect()
}

/// Some runs whose ids begin with `prefix`, the shortest first.
pub(super) fn starting_with(db: &Connection, prefix: &str) -> ReadResult<Vec<RunId>> {
    let sql = "select id from run where substr(id, 1, length(?1)) = ?1 order by id limit 8";
    let mut statement = db.prepare_cached(sql)?;
    statement.query_map([prefix], |cells| Ok(RunId::new(cells.get_ref(0)?.as_str()?)))?.collect()
}

/// Pending signals.
pub(super) fn signals(db: &Connection, run: &RunId, after: u64) -> ReadResult<Vec<Signal>> {
    let sql = "select id, address, question, command, value, by, at from signal
               where run = ? and id > ? and seq is null and refusal is null order by id limit 100";
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(params![run.as_str(), signed(after)], |cells| {
        let question: Option<String> = cells.get(2)?;
        let value: String = cells.get(4)?;
        Ok(Signal {
            id: unsigned(cells.get(0)?),
            run: run.clone(),
            address: Address::new(cells.get_ref(1)?.as_str()?),
            question: question.and_then(|text| Digest::parse(&text)),
            command: cells.get(3)?,
            value: serde_json::from_str(&value).unwrap_or_default(),
            by: cells.get(5)?,
            at: unsigned(cells.get(6)?),
        })
    })?;
    found.collect()
}

pub(super) fn settlement(db: &Connection, signal: u64) -> ReadResult<Option<Settled>> {
    let sql = "select seq, refusal from signal where id = ?";
    let found = db.prepare_cached(sql)?.query_row([signed(signal)], |cells| {
        let (seq, refusal): (Option<i64>, Option<String>) = (cells.get(0)?, cells.get(1)?);
        Ok(match (seq, refusal) {
            (_, Some(why)) => Some(Settled::Refused(why)),
            (Some(seq), None) => Some(Settled::Taken(unsigned(seq))),
            (None, None) => None,
        })
    });
    found.optional().map(Option::flatten)
}

pub(super) fn blob(db: &Connection, digest: &Digest) -> ReadResult<Option<Vec<u8>>> {
    let mut statement = db.prepare_cached("select bytes from blob where digest = ?")?;
    statement.query_row([&digest.as_bytes()[..]], |cells| cells.get(0)).optional()
}

pub(super) fn cached(db: &Connection, key: &Digest) -> ReadResult<Option<String>> {
    let mut statement = db.prepare_cached("select value from cache where key = ?")?;
    statement.query_row([&key.as_bytes()[..]], |cells| cells.get(0)).optional()
}

/// Digests that are still referenced, directly or through blobs; blobs put since `before` are kept.
pub(super) fn live(db: &Connection, before: Millis) -> ReadResult<HashSet<Digest>> {
    let snapshot = db.unchecked_transaction()?;
    let (mut live, mut left) = (HashSet::new(), Vec::new());
    for sql in [
        "select body from fact",
        "select plan from run",
        "select outputs from run where outputs is not null",
        "select value from cache",
    ] {
        let mut statement = snapshot.prepare(sql)?;
        let mut cells = statement.query([])?;
        while let Some(cell) = cells.next()? {
            each_digest(cell.get_ref(0)?.as_str()?.as_bytes(), |digest| {
                if live.insert(digest) {
                    left.push(digest);
                }
            });
        }
    }
    let mut young = snapshot.prepare("select lower(hex(digest)) from blob where at >= ?")?;
    let mut cells = young.query([signed(before)])?;
    while let Some(cell) = cells.next()? {
        each_digest(cell.get_ref(0)?.as_str()?.as_bytes(), |digest| {
            if live.insert(digest) {
                left.push(digest);
            }
        });
    }
    while let Some(digest) = left.pop() {
        if let Some(bytes) = blob(&snapshot, &digest)? {
            each_digest(&bytes, |digest| {
                if live.insert(digest) {
                    left.push(digest);
                }
            });
        }
    }
    Ok(live)
}

fn read_head(cells: &Cells<'_>) -> ReadResult<RunSummary> {
    let json = |i: usize, e: serde_json::Error| {
        rusqlite::Error::FromSqlConversionFailure(i, rusqlite::types::Type::Text, Box::new(e))
    };
    let plan: String = cells.get(2)?;
    let spent: String = cells.get(7)?;
    let outputs: Option<String> = cells.get(9)?;
    Ok(RunSummary {
        run: RunId::new(cells.get_ref(0)?.as_str()?),
        pipeline: cells.get(1)?,
        plan: Digest::parse(&plan).ok_or(rusqlite::Error::InvalidColumnType(
            2,
            "plan".to_owned(),
            rusqlite::types::Type::Text,
        ))?,
        status: cells.get(3)?,
        code: cells.get(4)?,
        started_at: unsigned(cells.get(5)?),
        finished_at: cells.get::<_, Option<i64>>(6)?.map(unsigned),
        spent: serde_json::from_str(&spent).map_err(|e| json(7, e))?,
        score: cells.get(8)?,
        outputs: outputs.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| json(9, e))?,
    })
}

/// Converts to the signed integers of SQLite; our numbers are far below the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
