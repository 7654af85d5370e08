//! Whether a file can be used as the store, without changing it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};

use super::anchor::Anchor;
use super::schema;

/// What each file of SQLite's begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Looks at a file that there is. Returns what people should know, though the file can be used.
///
/// # Errors
/// It is no store, not one of this version's, or a copy beside the log of another.
pub fn look(path: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot use the delay store sqlite:{}", path.display());
    let anchor = Anchor::existing(path).with_context(cannot)?;
    let header = anchor.header().with_context(cannot)?;
    ensure!(
        header.is_empty() || header.starts_with(MAGIC),
        "{}: it is not a database of SQLite's: [delay] store names another file",
        cannot()
    );
    let version = version(path, &anchor, &header).with_context(cannot)?;
    schema::check_known(version).with_context(cannot)?;
    let mut warnings = Vec::new();
    if anchor.others_rights().with_context(cannot)? != 0 {
        warnings.push(format!(
            "others than its user have rights to the delay store's file {0}, which run takes away: chmod 600 {0}",
            path.display()
        ));
    }
    if anchor.is_in_use().with_context(cannot)? {
        warnings.push(format!(
            "the delay store sqlite:{} is in use by another mo-router: run waits until that has stopped",
            path.display()
        ));
    }
    Ok(warnings)
}

/// The version of the schema.
fn version(path: &Path, anchor: &Anchor, header: &[u8]) -> Result<usize> {
    const USER_VERSION: usize = 60;
    if anchor.has_log() {
        // Perhaps it is only in the log.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        return schema::version(&Connection::open_with_flags(path, flags)?);
    }
    // Opening the file would make a log beside it.
    let version = header.get(USER_VERSION..USER_VERSION + 4).unwrap_or_default();
    let version = version.try_into().map_or(0, u32::from_be_bytes);
    Ok(usize::try_from(version)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A store as a router has left it, for its user alone.
    fn store(folder: &tempfile::TempDir) -> std::path::PathBuf {
        let path = folder.path().join("delays.db");
        let mut connection = Connection::open(&path).unwrap();
        schema::set_up(&connection).unwrap();
        schema::migrate(&mut connection).unwrap();
        schema::pack(&mut connection).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn files(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn a_good_store_is_good_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = store(&folder);
        let before = fs::read(&path).unwrap();
        assert_eq!(look(&path).unwrap(), [""; 0]);
        assert!(fs::read(&path).unwrap() == before);
        assert_eq!(files(&folder), 1);
        // One that has never held anything.
        fs::write(&path, b"").unwrap();
        assert_eq!(look(&path).unwrap(), [""; 0]);
    }

    #[test]
    fn a_newer_store_is_refused_wherever_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = store(&folder);
        let newer = Connection::open(&path).unwrap();
        schema::set_up(&newer).unwrap();
        newer.pragma_update(None, "user_version", 1000).unwrap();
        let refused = || format!("{:#}", look(&path).unwrap_err()).contains("schema version 1000");
        // What was written last is in the log, and then in the file.
        assert!(files(&folder) > 1 && refused());
        drop(newer);
        assert!(files(&folder) == 1 && refused());
        assert_eq!(files(&folder), 1);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = store(&folder);
        fs::write(folder.path().join("delays.db-wal"), b"of another").unwrap();
        let error = format!("{:#}", look(&path).unwrap_err());
        assert!(error.contains("a copy that was put beside"), "{error}");
        fs::write(&path, b"[delay]\nstore = 'postgres://'").unwrap();
        let error = format!("{:#}", look(&path).unwrap_err());
        assert!(error.contains("not a database of SQLite's"), "{error}");
    }

    #[test]
    fn what_is_worth_knowing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = store(&folder);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let router = Anchor::open(&path).unwrap();
        router.lock().unwrap();
        let warnings = look(&path).unwrap();
        assert!(warnings[0].contains("chmod 600") && warnings[1].contains("another mo-router"));
    }
}
