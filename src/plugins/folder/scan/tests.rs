use std::fs;

use tempfile::TempDir;

use super::*;
use crate::plugins::SLOW;

const PLUGIN: &[u8] = b"(component)";

/// Scans until everything is stable, and gives what was reported, in words.
fn settled(scanner: &mut Scanner, now: &mut Instant) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let mut report = |change| {
        told.push(match change {
            Change::Present(file) => format!("{} is there", file.name),
            Change::Unusable { name, reason, .. } => format!("{name} is refused: {reason}"),
            Change::Gone { name } => format!("{name} is gone"),
        });
    };
    while let Some(pause) = scanner.scan(*now, &mut report)? {
        *now += pause;
    }
    Ok(told)
}

#[expect(clippy::disallowed_methods, reason = "where time begins does not matter")]
fn start(names: &[&str]) -> (TempDir, Scanner, Instant) {
    let dir = TempDir::new().unwrap();
    let plugins = dir.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    names.iter().for_each(|name| fs::write(plugins.join(name), PLUGIN).unwrap());
    let (mut scanner, mut now) = (Scanner::new(&plugins, Scanning::default()), Instant::now());
    let told = settled(&mut scanner, &mut now).unwrap();
    assert_eq!(told.len(), names.len(), "{told:?}");
    (dir, scanner, now)
}

#[test]
fn a_folder_that_is_listed_slowly_answers() {
    let (dir, mut scanner, mut now) = start(&[]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    for name in ["a.txt", "b.txt", "c.txt"] {
        fs::write(at(name), b"").unwrap();
    }
    let mut answers = 0;
    list(&dir.path().join("plugins"), &mut || answers += 1).unwrap();
    assert_eq!(answers, 4, "each of three, and the end");
    scanner.scanning.set(now.checked_sub(SLOW));
    assert!(scanner.scanning.is_slow());
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    assert!(!scanner.scanning.is_slow());
}

#[test]
fn plugins_that_are_all_gone_at_once_are_not_removed() {
    let (dir, mut scanner, mut now) = start(&["a.wat", "b.wat"]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    for name in ["a.wat", "b.wat"] {
        fs::remove_file(at(name)).unwrap();
    }
    let error = settled(&mut scanner, &mut now).unwrap_err().to_string();
    assert!(error.ends_with("is empty: the plugins a, b are all gone at once"), "{error}");
    // One that is back shows that the folder can be read: the other one is gone.
    fs::write(at("a.wat"), PLUGIN).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["b is gone"]);
    // The last one of several goes by itself.
    fs::remove_file(at("a.wat")).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is gone"]);
}

#[test]
fn plugins_that_leave_others_behind_are_removed() {
    let (dir, mut scanner, mut now) = start(&["a.wat", "b.wat"]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    fs::write(at("README.md"), b"").unwrap();
    for name in ["a.wat", "b.wat"] {
        fs::remove_file(at(name)).unwrap();
    }
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is gone", "b is gone"]);
}

#[test]
fn a_folder_in_the_place_of_another_is_not_empty_but_unreadable() {
    let (dir, mut scanner, mut now) = start(&["a.wat"]);
    let at = |name: &str| dir.path().join(name);
    fs::rename(at("plugins"), at("away")).unwrap();
    let error = format!("{:#}", settled(&mut scanner, &mut now).unwrap_err());
    assert!(error.contains("cannot be read"), "{error}");
    fs::create_dir(at("plugins")).unwrap();
    let error = settled(&mut scanner, &mut now).unwrap_err().to_string();
    assert!(error.contains("is another one and has none of the plugins a"), "{error}");
    scanner.forget("a");
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
}

#[test]
fn another_folder_is_not_taken_for_the_same_because_it_has_other_plugins() {
    let (dir, mut scanner, mut now) = start(&["a.wat", "b.wat"]);
    let at = |name: &str| dir.path().join(name);
    let replace = |names: &[&str]| {
        fs::remove_dir_all(at("away")).ok();
        fs::rename(at("plugins"), at("away")).unwrap();
        fs::create_dir(at("plugins")).unwrap();
        names.iter().for_each(|name| fs::write(at("plugins").join(name), PLUGIN).unwrap());
    };
    // What was under the mount.
    replace(&["old.wat"]);
    let error = settled(&mut scanner, &mut now).unwrap_err().to_string();
    assert!(error.contains("is another one and has none of the plugins a, b"), "{error}");
    replace(&["a.wat", "b.wat"]);
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    // One of them is enough to know it by.
    replace(&["b.wat", "c.wat"]);
    let mut told = settled(&mut scanner, &mut now).unwrap();
    told.sort();
    assert_eq!(told, ["a is gone", "c is there"]);
    // Who means it removes the plugins that were there.
    replace(&["d.wat"]);
    assert!(settled(&mut scanner, &mut now).is_err());
    scanner.forget("b");
    assert!(settled(&mut scanner, &mut now).is_err());
    scanner.forget("c");
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["d is there"]);
}

#[test]
fn links_that_lead_nowhere_are_no_removal() {
    let (dir, mut scanner, mut now) = start(&[]);
    let plugins = dir.path().join("plugins");
    fs::create_dir(plugins.join("..v1")).unwrap();
    fs::write(plugins.join("..v1/a.wat"), PLUGIN).unwrap();
    std::os::unix::fs::symlink("..v1/a.wat", plugins.join("a.wat")).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is there"]);
    fs::rename(plugins.join("..v1"), plugins.join("..v2")).unwrap();
    let error = settled(&mut scanner, &mut now).unwrap_err().to_string();
    assert!(error.contains("lead nowhere"), "{error}");
}

#[test]
fn one_link_that_leads_nowhere_is_told_and_stops_no_plugin() {
    let (dir, mut scanner, mut now) = start(&["a.wat", "b.wat"]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, at("next")).unwrap();
        fs::rename(at("next"), at(name)).unwrap();
    };
    // As `ln -sf build/b.wat plugins/b.wat` makes it: it leads to the folder's own `build`.
    link("build/b.wat", "b.wat");
    let told = settled(&mut scanner, &mut now).unwrap().join("");
    assert!(told.starts_with("b is refused: it is a link to build/b.wat, and there is"), "{told}");
    assert!(told.contains(&at("build/b.wat").display().to_string()), "{told}");
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty(), "it is told once");
    // One that is new is told too; one that leads nowhere for less than a moment is not.
    link("nowhere", "c.wat");
    link("../d.wat", "d.wat");
    let mut told = Vec::new();
    let pause = scanner.scan(now, |_| told.push(())).unwrap();
    assert!(told.is_empty() && pause == Some(STABLE), "{pause:?}");
    fs::write(dir.path().join("d.wat"), PLUGIN).unwrap();
    let told = settled(&mut scanner, &mut now).unwrap().join(", ");
    assert!(told.contains("c is refused: it is a link") && told.ends_with("d is there"), "{told}");
    // What people remove beside it is removed, and so is the link itself.
    for name in ["d.wat", "c.wat"] {
        fs::remove_file(at(name)).unwrap();
    }
    let told = settled(&mut scanner, &mut now).unwrap();
    assert_eq!(told, ["c is gone", "d is gone"]);
    fs::remove_file(at("a.wat")).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is gone"]);
    fs::create_dir(at("build")).unwrap();
    fs::write(at("build/b.wat"), "(component (core module))").unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["b is there"]);
    fs::remove_file(at("build/b.wat")).unwrap();
    let error = settled(&mut scanner, &mut now).unwrap_err().to_string();
    assert!(error.contains("lead nowhere, and so the plugins b"), "{error}");
}

#[test]
fn plugins_that_would_share_settings_are_told_apart() {
    let (dir, mut scanner, mut now) = start(&["my-plugin.wat"]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    fs::write(at("My_Plugin.wat"), PLUGIN).unwrap();
    let told = settled(&mut scanner, &mut now).unwrap().join("");
    assert!(told.starts_with("My_Plugin is refused: "), "{told}");
    assert!(told.contains("plugins \"my-plugin\" and \"My_Plugin\" would share"), "{told}");
    fs::remove_file(at("my-plugin.wat")).unwrap();
    let mut told = settled(&mut scanner, &mut now).unwrap();
    told.sort();
    assert_eq!(told, ["My_Plugin is there", "my-plugin is gone"]);
}

#[test]
fn text_beside_a_binary_is_no_plugin_unless_it_is_put_there_afterwards() {
    let (dir, mut scanner, mut now) = start(&["a.wasm"]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    let told = |scanner: &Scanner, near_miss| {
        let told = scanner.near_misses.get(&(at("a.wat"), near_miss));
        told.is_some_and(|(_, told)| *told)
    };
    fs::write(at("a.wat"), b"(component )").unwrap();
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    assert!(told(&scanner, NearMiss::Beside));
    // Another one in the place of the binary, with a moment in between.
    fs::remove_file(at("a.wasm")).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is gone"]);
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    assert!(told(&scanner, NearMiss::LeftBehind) && !told(&scanner, NearMiss::Beside));
    fs::write(at("a.wasm"), b"(component  )").unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is there"]);
    // Who means the text puts it there.
    fs::remove_file(at("a.wasm")).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is gone"]);
    fs::write(at("a.wat"), b"(component   )").unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is there"]);
    assert!(!told(&scanner, NearMiss::LeftBehind));
    // The binary takes its place as soon as it is there.
    fs::write(at("a.wasm"), PLUGIN).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is there"]);
    assert!(told(&scanner, NearMiss::Beside));
}

#[test]
fn what_a_file_system_says_of_the_time_does_not_matter() {
    let (dir, scanner, now) = start(&["a.wat"]);
    let path = dir.path().join("plugins/a.wat");
    // Its server's clock is an hour behind.
    let hour_ago = fs::metadata(&path).unwrap().modified().unwrap() - Duration::from_hours(1);
    let hour_ago = hour_ago.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let stamp = match &scanner.files["a"].stamp {
        Stamp::Present { device, inode, size, .. } => Stamp::Present {
            device: *device,
            inode: *inode,
            size: *size,
            modified: (hour_ago, 0),
            changed: (hour_ago, 0),
        },
        other => panic!("{other:?}"),
    };
    let mut file = File::new(path, stamp, None, now);
    let Checked { change, again } = file.check("a", now, &Scanning::default());
    assert!(change.is_none() && again == Some(STABLE), "it has only just been seen");
}

#[test]
fn a_complete_file_in_anothers_place_is_there_at_once_and_looked_at_again() {
    let (dir, mut scanner, now) = start(&["a.wat"]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    let put = |name: &str, content: &[u8]| {
        fs::write(at("next"), content).unwrap();
        fs::rename(at("next"), at(name)).unwrap();
    };
    let look = |scanner: &mut Scanner, now: Instant| {
        let mut there = 0;
        let again = scanner.scan(now, |_| there += 1).unwrap();
        (there, again)
    };
    let binary = wat::parse_bytes(PLUGIN).unwrap();
    let other = wat::parse_bytes(b"(component (core module))").unwrap();
    // Nothing was there: it may have begun to be written just now.
    put("b.wasm", &binary);
    assert_eq!(look(&mut scanner, now), (0, Some(STABLE)));
    assert_eq!(look(&mut scanner, now + STABLE), (1, None));
    put("b.wasm", &other);
    assert_eq!(look(&mut scanner, now + STABLE), (1, Some(STABLE)));
    // Nobody is told of the same content again.
    assert_eq!(look(&mut scanner, now + STABLE * 2), (0, None));
    // Neither what is not complete nor a text is taken at its first sight.
    put("b.wasm", &other[..other.len() - 1]);
    assert_eq!(look(&mut scanner, now + STABLE * 2), (0, Some(STABLE)));
    put("b.wasm", PLUGIN);
    assert_eq!(look(&mut scanner, now + STABLE * 2), (0, Some(STABLE)));
    // What is written in place is not complete before it stands still.
    assert_eq!(look(&mut scanner, now + STABLE * 3), (1, None));
    fs::write(at("b.wasm"), &binary).unwrap();
    assert_eq!(look(&mut scanner, now + STABLE * 3), (0, Some(STABLE)));
    assert_eq!(look(&mut scanner, now + STABLE * 4), (1, None));
}

#[test]
fn a_change_that_timestamps_do_not_show_is_seen_by_the_second_look() {
    let (dir, mut scanner, now) = start(&["a.wat"]);
    let path = dir.path().join("plugins/a.wat");
    fs::write(&path, wat::parse_bytes(PLUGIN).unwrap()).unwrap();
    let file = scanner.files.get_mut("a").unwrap();
    *file = File { is_another: true, ..File::new(path.clone(), Stamp::of(&path), None, now) };
    assert!(file.check("a", now, &Scanning::default()).change.is_some());
    fs::write(&path, wat::parse_bytes(b"(component (core module))").unwrap()).unwrap();
    file.stamp = Stamp::of(&path);
    let Checked { change, again } = file.check("a", now + STABLE, &Scanning::default());
    assert!(change.is_some() && again.is_none());
}

#[test]
fn a_change_within_a_coarse_timestamp_is_seen_when_its_second_is_over() {
    let (dir, mut scanner, now) = start(&["a.wat"]);
    let path = dir.path().join("plugins/a.wat");
    let file = scanner.files.get_mut("a").unwrap();
    let whole = match Stamp::of(&path) {
        Stamp::Present { device, inode, size, modified, changed } => {
            let (modified, changed) = ((modified.0, 0), (changed.0, 0));
            Stamp::Present { device, inode, size, modified, changed }
        }
        other => panic!("{other:?}"),
    };
    assert!(!file.stamp.is_coarse() && whole.is_coarse());
    assert!(File::new(path.clone(), whole, None, now).looks == Looks::Two);
    // This one's file system tells more: the stamp is made to be the same as before the change.
    *file = File { looks: Looks::Two, ..File::new(path.clone(), Stamp::of(&path), None, now) };
    let mut check = |after: Duration, content: &str| {
        fs::write(&path, content).unwrap();
        file.stamp = Stamp::of(&path);
        let Checked { change, again } = file.check("a", now + after, &Scanning::default());
        (change.is_some(), again)
    };
    let (one, other) = ("(component (;1;))", "(component (;2;))");
    assert_eq!(check(STABLE, one), (true, Some(COARSE - STABLE)));
    // It is not read at each scan until then.
    assert_eq!(check(2 * STABLE, other), (false, Some(COARSE - 2 * STABLE)));
    assert_eq!(check(COARSE, other), (true, None));
    assert_eq!(
        check(2 * COARSE, one),
        (false, None),
        "from then on each change has its own second"
    );
}

#[test]
fn files_that_were_perhaps_meant_to_be_plugins_are_told_once() {
    let (dir, mut scanner, mut now) = start(&[]);
    let at = |name: &str| dir.path().join("plugins").join(name);
    for name in ["X.WASM", "y.wasm.part", "z.wasm.bak", "notes.txt", "README"] {
        fs::write(at(name), b"").unwrap();
    }
    let told = |scanner: &Scanner| -> Vec<String> {
        let told = scanner.near_misses.iter().filter(|(_, (_, told))| *told);
        told.map(|((path, _), _)| path.file_name().unwrap().display().to_string()).collect()
    };
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    assert_eq!(told(&scanner), ["X.WASM"]);
    now += UNFINISHED;
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    assert_eq!(told(&scanner), ["X.WASM", "y.wasm.part"]);
    fs::remove_file(at("X.WASM")).unwrap();
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    assert_eq!(scanner.near_misses.len(), 1);
}

#[test]
fn the_last_of_several_that_are_all_gone_stays_when_the_others_are_forgotten() {
    let (dir, mut scanner, mut now) = start(&["a.wat", "b.wat"]);
    for name in ["a.wat", "b.wat"] {
        fs::remove_file(dir.path().join("plugins").join(name)).unwrap();
    }
    assert!(settled(&mut scanner, &mut now).is_err());
    scanner.forget("a");
    let error = settled(&mut scanner, &mut now).unwrap_err().to_string();
    assert!(error.contains("the plugins b are all gone at once"), "{error}");
    scanner.forget("b");
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    // From here on one file that is removed is one file that is removed.
    fs::write(dir.path().join("plugins/c.wat"), PLUGIN).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["c is there"]);
    fs::remove_file(dir.path().join("plugins/c.wat")).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["c is gone"]);
}

#[test]
fn a_file_is_reported_again_when_that_is_asked_for() {
    let (dir, mut scanner, mut now) = start(&["a.wat"]);
    assert!(settled(&mut scanner, &mut now).unwrap().is_empty());
    scanner.report_again("a");
    scanner.report_again("no such plugin");
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is there"]);
    scanner.report_again("a");
    fs::remove_file(dir.path().join("plugins/a.wat")).unwrap();
    assert_eq!(settled(&mut scanner, &mut now).unwrap(), ["a is gone"]);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let (dir, mut scanner, mut now) = start(&[]);
    let file = fs::File::create(dir.path().join("plugins/huge.wasm")).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    let told = settled(&mut scanner, &mut now).unwrap().join("");
    assert_eq!(told, "huge is refused: it has 268435457 bytes; the limit is 268435456");
}

#[test]
fn a_file_that_could_not_be_read_is_read_again_though_it_has_not_changed() {
    let (dir, mut scanner, mut now) = start(&["a.wat"]);
    let good = dir.path().join("plugins/a.wat");
    // A file of the kernel's that looks like any other and cannot be read.
    std::os::unix::fs::symlink("/proc/self/mem", dir.path().join("plugins/b.wat")).unwrap();
    let told = settled(&mut scanner, &mut now).unwrap().join("");
    assert!(told.starts_with("b is refused: the file cannot be read (Input/output"), "{told}");
    let file = scanner.files.get_mut("b").unwrap();
    assert!(file.check("b", now, &Scanning::default()).change.is_none(), "it is told once");
    // The disk is well again.
    (file.path, file.stamp) = (good.clone(), Stamp::of(&good));
    assert!(matches!(file.check("b", now, &Scanning::default()).change, Some(Change::Present(_))));
}
