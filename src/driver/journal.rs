//! Records as rows of the store, and back.

use super::DriveError;
use crate::engine::{FORMAT, Fact, Record};
use crate::id::RunId;
use crate::store::{FactRow, Store};

/// The row for `record`.
pub fn row(record: &Record) -> Result<FactRow, DriveError> {
    let body = serde_json::to_string(&record.fact)
        .map_err(|e| DriveError::Journal { seq: 0, message: e.to_string() })?;
    Ok(FactRow {
        at: record.at,
        kind: record.fact.word().to_owned(),
        address: record.address.clone(),
        attempt: record.attempt,
        body,
    })
}

/// The record in `row`.
pub fn record(seq: u64, row: FactRow) -> Result<Record, DriveError> {
    let fact: Fact =
        serde_json::from_str(&row.body).map_err(|e| DriveError::Journal { seq, message: e.to_string() })?;
    Ok(Record { at: row.at, address: row.address, attempt: row.attempt, fact })
}

/// Refuses the first record of a run whose journal has a different format than this version writes.
pub fn check_format(run: &RunId, record: &Record) -> Result<(), DriveError> {
    match record.fact {
        Fact::RunStarted { format, .. } if format != FORMAT => {
            Err(DriveError::Format { run: run.clone(), found: format })
        }
        _ => Ok(()),
    }
}

/// Passes every record of `run` to `each`, in order, with its number; returns the last number.
pub fn read(
    store: &dyn Store,
    run: &RunId,
    mut each: impl FnMut(u64, Record) -> Result<(), DriveError>,
) -> Result<u64, DriveError> {
    let (mut last, mut failed) = (0, None);
    store.scan(run, 0, &mut |seq, row| {
        last = seq;
        match record(seq, row).and_then(|record| each(seq, record)) {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    })?;
    failed.map_or(Ok(last), Err)
}
