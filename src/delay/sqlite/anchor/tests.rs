use super::*;

fn file(folder: &tempfile::TempDir, content: &[u8]) -> PathBuf {
    let path = folder.path().join("delays.db");
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_new_file_is_for_its_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delays.db");
    let anchor = Anchor::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let beside = folder.path().join("delays.db-changed");
    anchor.open_beside(&beside).unwrap();
    assert_eq!(fs::metadata(&beside).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_gone_or_another_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, b"");
    let anchor = Anchor::open(&path).unwrap();
    anchor.check().unwrap();
    fs::rename(&path, folder.path().join("aside")).unwrap();
    assert!(anchor.check().unwrap_err().to_string().contains("was deleted"));
    fs::write(&path, b"another").unwrap();
    assert!(anchor.check().unwrap_err().to_string().contains("was replaced"));
    fs::rename(folder.path().join("aside"), &path).unwrap();
    anchor.check().unwrap();
    fs::write(anchor.log_path(), b"log of another process").unwrap();
    anchor.check().unwrap();
    fs::remove_file(anchor.log_path()).unwrap();
    anchor.check().unwrap();
    fs::write(anchor.log_path(), b"log").unwrap();
    anchor.connected();
    fs::remove_file(anchor.log_path()).unwrap();
    assert!(anchor.check().unwrap_err().to_string().contains("write-ahead log"));
}

#[test]
fn a_backup_beside_anothers_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = [0; 100];
    header[18] = 1;
    let path = file(&folder, &header);
    Anchor::open(&path).unwrap();
    fs::write(folder.path().join("delays.db-wal"), b"pages").unwrap();
    assert!(Anchor::open(&path).unwrap_err().is::<Unusable>());
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Anchor::open(&link).unwrap_err().is::<Unusable>());
    header[18] = 2;
    file(&folder, &header);
    Anchor::open(&path).unwrap();
}

#[test]
fn one_router_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, b"");
    let (one, other) = (Anchor::open(&path).unwrap(), Anchor::open(&path).unwrap());
    one.lock().unwrap();
    assert!(other.is_in_use().unwrap() && other.is_claimed());
    assert!(other.lock().unwrap_err().to_string().contains("another mo-router"));
    // It does not lose its lock by looking.
    assert!(!one.is_in_use().unwrap() && one.is_claimed());
    assert!(other.is_in_use().unwrap());
    // As a process has it that is being started meanwhile.
    let _inherited = one.file.try_clone().unwrap();
    drop(one);
    assert!(!other.is_in_use().unwrap() && !other.is_claimed());
    other.lock().unwrap();
}

#[test]
fn others_lose_their_rights_to_a_file_that_was_there_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, b"");
    let log = folder.path().join("delays.db-wal");
    fs::write(&log, b"").unwrap();
    for path in [&path, &log] {
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    let anchor = Anchor::open(&path).unwrap();
    assert_eq!(anchor.others_rights().unwrap(), 0o044);
    anchor.close_to_others().unwrap();
    assert_eq!(anchor.others_rights().unwrap(), 0);
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
}
