//! Transactions that go around damaged rows.
//!
//! A row that cannot be changed must not keep the others of its transaction from being changed.
//! But SQLite leaves a statement that fails at damage half done, and takes no other after some
//! of these errors. So the transaction is rolled back and begun again without that row.

use std::collections::BTreeMap;

use rusqlite::{Connection, ErrorCode, Result, Transaction, TransactionBehavior, ffi};

/// What people can do about it.
const REPAIR: &str = "docs/delay-store.md says how to rebuild the file";

/// Why a change failed, and at which row if it is that row's damage.
pub struct Failure<R> {
    row: Option<R>,
    error: rusqlite::Error,
}

impl<R> From<rusqlite::Error> for Failure<R> {
    fn from(error: rusqlite::Error) -> Self {
        Self { row: None, error }
    }
}

/// What a statement did that changes `row`.
pub fn at<R, T>(row: R, changed: Result<T>) -> Result<T, Failure<R>> {
    changed.map_err(|error| Failure { row: is_damage(&error).then_some(row), error })
}

/// As [`at`], for a row that is inserted after the one with its key was deleted: that there is
/// one with its key all the same is the damage of an index.
pub fn replacing<R, T>(row: R, changed: Result<T>) -> Result<T, Failure<R>> {
    let is_duplicate = |error: &rusqlite::Error| {
        error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_UNIQUE)
    };
    changed.map_err(|error| {
        let row = (is_damage(&error) || is_duplicate(&error)).then_some(row);
        Failure { row, error }
    })
}

/// Whether a row, and not the file as a whole, cannot be read or written.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
        || matches!(error, rusqlite::Error::QueryReturnedNoRows)
}

/// The rows that a change had to leave as they are, and why.
pub type Untouched<R> = BTreeMap<R, String>;

/// Changes rows in one transaction. When `change` fails at a damaged row it is called again after
/// a rollback, and leaves that row out. For people, `named` says which row it is.
pub fn around_damage<R: Copy + Ord, T>(
    connection: &mut Connection,
    named: impl Fn(R) -> String,
    change: impl Fn(&Transaction<'_>, &Untouched<R>) -> Result<T, Failure<R>>,
) -> Result<(T, Untouched<R>)> {
    let mut untouched = Untouched::new();
    let mut is_lenient = false;
    loop {
        let attempt = |connection: &mut Connection| -> Result<T, Failure<R>> {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&transaction, &untouched)?;
            transaction.commit()?;
            Ok(done)
        };
        let attempted =
            if is_lenient { leniently(connection, attempt) } else { attempt(connection) };
        let Failure { row, error } = match attempted {
            Ok(done) => return Ok((done, untouched)),
            Err(failure) => failure,
        };
        let Some(row) = row.filter(|row| !untouched.contains_key(row)) else { return Err(error) };
        let row_name = named(row);
        if !is_lenient && lacks_index_entry(&error) {
            tracing::error!(
                "the delay store's file is damaged: an index has no entry for {row_name}, which is \
                 changed all the same; {REPAIR}"
            );
            is_lenient = true;
        } else {
            tracing::error!(
                "the delay store's file is damaged: {row_name} cannot be changed: {error}; {REPAIR}"
            );
            untouched.insert(row, error.to_string());
        }
    }
}

fn lacks_index_entry(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code() == Some(ffi::SQLITE_CORRUPT_INDEX)
}

/// Lets SQLite change rows for which an index has no entry, which it otherwise refuses. (That
/// is part of what it has this pragma for.)
fn leniently<T, E: From<rusqlite::Error>>(
    connection: &mut Connection,
    task: impl FnOnce(&mut Connection) -> Result<T, E>,
) -> Result<T, E> {
    connection.pragma_update(None, "writable_schema", true)?;
    let done = task(connection);
    connection.pragma_update(None, "writable_schema", false)?;
    done
}
