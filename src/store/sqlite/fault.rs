use std::path::Path;

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::StoreError;

/// The store error for a database error.
pub(super) fn of(path: &Path, error: &Error) -> StoreError {
    let path = path.to_owned();
    let message = error.to_string();
    let Error::SqliteFailure(failure, _) = error else {
        return StoreError::Failed { path, message };
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::Full(path),
        (ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen, _) => {
            StoreError::ReadOnly { path, message }
        }
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => StoreError::Corrupt { path, message },
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreError::Locked(path),
        _ => StoreError::Failed { path, message },
    }
}

/// Whether a row with this key already exists.
pub(super) fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::SqliteFailure(failure, _) if failure.code == ErrorCode::ConstraintViolation)
}
