//! Whose fault it is when a backend refuses a batch: that of a message in it, or the
//! backend's own.

use rusqlite::ErrorCode;

/// The error of a batch that the backend refuses for what is in it, in the backend's words.
/// Anything else is trouble of the backend's, which the next attempt may not meet.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unstorable(pub String);

/// Whether an SQLSTATE blames the data: class 22 (a value that cannot be), 23 (one that a
/// constraint forbids) or 54 (one that is too large).
pub fn blames_data(state: &str) -> bool {
    ["22", "23", "54"].iter().any(|class| state.starts_with(class))
}

/// The same of SQLite's errors.
pub fn sqlite_blames_data(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
}

/// Both halves of a batch that was refused, to be tried by themselves; none if it is the one
/// message that is to blame.
pub fn halves<T>(mut batch: Vec<T>) -> Result<[Vec<T>; 2], Vec<T>> {
    if batch.len() < 2 {
        return Err(batch);
    }
    let second = batch.split_off(batch.len() / 2);
    Ok([batch, second])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_constraints_and_sizes_are_the_datas_fault() {
        for state in ["22021", "22P05", "23502", "23514", "54000"] {
            assert!(blames_data(state), "{state}");
        }
        // A full disk, a shutdown, a deadlock, a read-only transaction, a missing table.
        for state in ["53100", "57P01", "40P01", "25006", "42P01", "XX000"] {
            assert!(!blames_data(state), "{state}");
        }
        assert!(sqlite_blames_data(ErrorCode::TooBig));
        for code in [ErrorCode::DiskFull, ErrorCode::ReadOnly, ErrorCode::DatabaseCorrupt] {
            assert!(!sqlite_blames_data(code), "{code:?}");
        }
    }

    #[test]
    fn the_culprit_is_found_by_halving() {
        let mut batches = vec![(0..1000).collect::<Vec<_>>()];
        let (mut stored, mut tries, mut culprits) = (0, 0, Vec::new());
        while let Some(batch) = batches.pop() {
            tries += 1;
            if !batch.contains(&617) {
                stored += batch.len();
                continue;
            }
            match halves(batch) {
                Ok(parts) => batches.extend(parts),
                Err(culprit) => culprits.extend(culprit),
            }
        }
        assert_eq!((stored, culprits), (999, vec![617]));
        assert!(tries <= 21, "{tries}");
    }
}
