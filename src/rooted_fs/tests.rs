#![expect(clippy::disallowed_methods, reason = "tests make files")]

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

const ALL: CopyLimits = CopyLimits { entries: 100_000, bytes: 1 << 30 };

fn live() -> CancellationToken {
    CancellationToken::new()
}

fn sh(dir: &Path, line: &str) {
    let status = Command::new("sh").args(["-ec", line]).current_dir(dir).status().unwrap();
    assert!(status.success(), "{line}");
}

fn deep(dir: &Path, levels: usize) {
    let script = "import os,sys\nfor i in range(int(sys.argv[1])):\n os.mkdir('d'); os.chdir('d')\nopen('f','w').write('deep')";
    let mut python = Command::new("python3");
    let status = python.args(["-c", script, &levels.to_string()]).current_dir(dir).status().unwrap();
    assert!(status.success());
}

fn list(fs: &RootedFs) -> Listing {
    fs.list(1_000, &|path| path == "none", &|_| None).unwrap()
}

#[test]
fn nothing_outside_is_read_written_or_listed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("in");
    std::fs::create_dir_all(dir.join(".git")).unwrap();
    std::fs::write(place.path().join("secret"), "S").unwrap();
    std::fs::write(dir.join("a"), "A").unwrap();
    symlink("../secret", dir.join("out")).unwrap();
    symlink(place.path(), dir.join("up")).unwrap();
    symlink("/etc/passwd", dir.join("far")).unwrap();
    symlink("a", dir.join("near")).unwrap();
    sh(&dir, "mkfifo pipe");
    let fs = RootedFs::open(&dir).unwrap().following_links();
    let read = |path: &str| fs.read(Path::new(path), 9);
    assert_eq!(read("near").unwrap(), b"A");
    for path in ["out", "far", "up/secret", "../secret", "pipe", "none"] {
        assert!(read(path).is_err(), "{path}");
        assert!(path == "none" || fs.rewrite(Path::new(path), b"x").is_err(), "{path}");
    }
    assert!(fs.rewrite(Path::new("up/new"), b"x").is_err());
    assert!(fs.put(Path::new("up/new"), b"x", false).is_err());
    fs.rewrite(Path::new("deep/er/b.sh"), b"#!/bin/sh\n").unwrap();
    assert!(fs.read(Path::new("a"), 0).unwrap_err().to_string().contains("1 bytes, more than 0"));
    let listing = list(&fs);
    let files: Vec<_> = listing.files.iter().map(|file| (file.path.as_str(), file.executable)).collect();
    assert_eq!(files, [("a", false), ("deep/er/b.sh", true), ("near", false)]);
    let left_out: Vec<_> = listing.left_out.iter().map(|left| left.path.as_str()).collect();
    assert_eq!(left_out, ["far", "out", "pipe", "up"]);

    let strict = RootedFs::open(&dir).unwrap();
    assert!(strict.read(Path::new("near"), 9).unwrap_err().to_string().contains("symbolic link"));
    assert_eq!(std::fs::read_to_string(place.path().join("secret")).unwrap(), "S");
    assert!(!place.path().join("new").exists());
}

#[test]
fn a_new_file_takes_the_place_of_links_pipes_and_other_names() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("in");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(place.path().join("secret"), "S").unwrap();
    sh(&dir, "ln -s ../secret link; mkfifo pipe; echo one > one; ln one two; mkdir dir; ln -s . self");
    let fs = RootedFs::open(&dir).unwrap();
    for name in ["link", "pipe", "two", "/new/er"] {
        fs.put(Path::new(name), b"ours", true).unwrap();
        let written = dir.join(name.trim_start_matches('/'));
        let state = std::fs::symlink_metadata(&written).unwrap();
        assert!(state.is_file() && state.mode() & 0o7777 == 0o755, "{name}");
        assert_eq!(std::fs::read_to_string(&written).unwrap(), "ours");
    }
    assert_eq!(std::fs::read_to_string(dir.join("one")).unwrap(), "one\n");
    assert_eq!(std::fs::read_to_string(place.path().join("secret")).unwrap(), "S");
    for (name, why) in [("dir", "is a directory"), ("self/x", "symbolic link"), ("one/x", "not a directory")]
    {
        let error = fs.put(Path::new(name), b"", false).unwrap_err();
        assert!(error.to_string().contains(why) && !is_machine_fault(&error), "{name}: {error}");
    }
    let long = "n".repeat(300);
    assert!(fs.put(Path::new(&long), b"", false).unwrap_err().to_string().contains("too long"));
    let left = |name: &str| name.starts_with(".atoll-");
    let names = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(names.filter(|name| left(&name.to_string_lossy())).count(), 0);
}

#[test]
fn a_written_file_has_another_stamp() {
    let place = tempfile::tempdir().unwrap();
    let fs = RootedFs::open(place.path()).unwrap();
    fs.rewrite(Path::new("a"), b"one, and more").unwrap();
    let first = list(&fs).files;
    assert_eq!(list(&fs).files, first);
    fs.rewrite(Path::new("a"), b"two").unwrap();
    assert_ne!(list(&fs).files, first);
    assert_eq!(fs.read(Path::new("a"), 9).unwrap(), b"two");
}

#[test]
fn a_copy_is_the_same_and_no_larger() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    sh(
        &from,
        "truncate -s 3G sparse; printf end >> sparse; head -c 1000000 /dev/urandom > a/../big 2>/dev/null || head -c 1000000 /dev/urandom > big; \
         mkdir -p x/y; ln big x/y/same; ln big x/again; ln -s /etc/passwd link; mkfifo pipe; echo s > setuid; chmod 6755 setuid; \
         mkdir shut; echo in > shut/in; chmod 000 shut/in shut; printf x > \"$(printf 'new\\nline')\"; printf x > \"$(printf '\\377')\"",
    );
    deep(&from, 3_000);
    let source = RootedFs::open(&from).unwrap();
    source.copy_to(&RootedFs::create(&to).unwrap(), ALL, &live()).unwrap();
    let state = |name: &str| std::fs::symlink_metadata(to.join(name)).unwrap();
    assert_eq!(state("sparse").size(), (3 << 30) + 3);
    assert!(state("sparse").blocks() * 512 < 1 << 20, "the holes were filled");
    assert_eq!((state("big").ino(), state("big").nlink()), (state("x/y/same").ino(), 3));
    assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(state("setuid").mode() & 0o7777, 0o755);
    for dir in [&from, &to] {
        assert_eq!(std::fs::symlink_metadata(dir.join("shut")).unwrap().mode() & 0o7777, 0);
    }
    let count = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
    assert_eq!(count(&from), count(&to));
    let same =
        "diff <(cd from; find . -printf '%p %y %l\\n' | sort) <(cd to; find . -printf '%p %y %l\\n' | sort)";
    let diff = Command::new("bash").args(["-c", same]).current_dir(place.path()).output().unwrap();
    assert!(diff.stdout.is_empty(), "{}", String::from_utf8_lossy(&diff.stdout));

    let small = CopyLimits { bytes: 500_000, ..ALL };
    let third = RootedFs::create(&place.path().join("third")).unwrap();
    assert!(source.copy_to(&third, small, &live()).unwrap_err().to_string().contains("larger than"));
    let few = CopyLimits { entries: 100, ..ALL };
    let fourth = RootedFs::create(&place.path().join("fourth")).unwrap();
    assert!(source.copy_to(&fourth, few, &live()).unwrap_err().to_string().contains("more files"));
    let cancelled = live();
    cancelled.cancel();
    assert!(is_machine_fault(&source.copy_to(&fourth, ALL, &cancelled).unwrap_err()));
    for name in ["from", "to", "third", "fourth"] {
        remove_tree(&place.path().join(name)).unwrap();
        assert!(!place.path().join(name).exists());
    }
}

#[test]
fn a_tree_is_removed_whatever_is_in_it_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("gone");
    std::fs::create_dir(&dir).unwrap();
    std::fs::create_dir(place.path().join("kept")).unwrap();
    std::fs::write(place.path().join("kept/file"), "").unwrap();
    deep(&dir, 3_000);
    sh(
        &dir,
        "mkdir a; ln -s ../kept a/kept; ln -s / a/root; mkfifo a/pipe; mkdir -p b/c; touch b/c/f; chmod 000 b/c b",
    );
    for n in 0..12_000 {
        std::fs::write(dir.join(format!("a/{n}")), "").unwrap();
    }
    remove_tree(&dir).unwrap();
    assert!(!dir.exists() && place.path().join("kept/file").exists());
    remove_tree(&dir).unwrap();
    remove_tree(&place.path().join("none/none")).unwrap();
    symlink("kept", place.path().join("link")).unwrap();
    remove_tree(&place.path().join("link")).unwrap();
    assert!(place.path().join("kept/file").exists() && !place.path().join("link").exists());
}

/// Repeatedly swaps a directory for a link to the outside, while files are written, read, listed, copied
/// and removed below it.
#[test]
fn a_swapped_directory_never_leads_outside() {
    let place = tempfile::tempdir().unwrap();
    let (dir, canary) = (place.path().join("in"), place.path().join("canary"));
    for made in [&dir.join("a/b"), &canary.join("b")] {
        std::fs::create_dir_all(made).unwrap();
    }
    std::fs::write(canary.join("b/secret"), "S").unwrap();
    std::fs::write(dir.join("a/b/file"), "ours").unwrap();
    std::fs::set_permissions(&canary, std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&canary, dir.join("link")).unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let (swapped, ended) = (RootedFs::open(&dir).unwrap(), end.clone());
    let attacker = std::thread::spawn(move || {
        let mut swaps = 0_u64;
        while !ended.load(Ordering::Relaxed) {
            swaps += u64::from(swapped.exchange(Path::new("a"), Path::new("link")).is_ok());
        }
        swaps
    });
    let before = (std::fs::metadata(&canary).unwrap(), std::fs::metadata(canary.join("b")).unwrap());
    let (strict, lax) = (RootedFs::open(&dir).unwrap(), RootedFs::open(&dir).unwrap().following_links());
    let mut puts = 0;
    for n in 0..2_000 {
        puts += usize::from(strict.put(Path::new("a/b/new"), b"x", true).is_ok());
        let _ = lax.rewrite(Path::new("a/b/new"), b"y");
        let _ = strict.make_dirs(Path::new("a/b/c/d"));
        for path in ["a/b/secret", "a/b/file"] {
            assert!(
                [&strict, &lax]
                    .iter()
                    .all(|fs| fs.read(Path::new(path), 9).map_or(true, |read| read != b"S"))
            );
        }
        if n % 100 == 0 {
            let listing = lax.list(1_000, &|_| false, &|_| None).unwrap();
            assert!(listing.files.iter().all(|file| !file.path.contains("secret")));
            let to = place.path().join("to");
            let _ = strict.copy_to(&RootedFs::create(&to).unwrap(), ALL, &live());
            for name in ["a", "link"].map(|name| to.join(name)) {
                // A link is copied as a link.
                let is_dir = std::fs::symlink_metadata(&name).is_ok_and(|state| state.is_dir());
                assert!(!(is_dir && name.join("b/secret").exists()));
            }
            remove_tree(&to).unwrap();
            let _ = strict.give(u32::MAX - 7, &live());
            let _ = strict.remove(Path::new("a/b/c"));
        }
    }
    end.store(true, Ordering::Relaxed);
    let swaps = attacker.join().unwrap();
    assert!(swaps > 100 && puts > 0, "{swaps} swaps, {puts} files");
    assert_eq!(std::fs::read_to_string(canary.join("b/secret")).unwrap(), "S");
    assert_eq!(std::fs::read_dir(canary.join("b")).unwrap().count(), 1);
    let after = (std::fs::metadata(&canary).unwrap(), std::fs::metadata(canary.join("b")).unwrap());
    let told = |state: &std::fs::Metadata| (state.mode(), state.uid(), state.mtime_nsec());
    assert_eq!((told(&before.0), told(&before.1)), (told(&after.0), told(&after.1)));
}

#[test]
fn a_replaced_file_keeps_its_mode_and_links_and_pipes_are_not_opened() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("in");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(place.path().join("secret"), "S").unwrap();
    sh(
        &dir,
        "echo old > file; chmod 640 file; ln file other; ln -s ../secret link; ln -s .. up; mkfifo pipe; mkdir dir",
    );
    let fs = RootedFs::open(&dir).unwrap();
    for (name, mode) in [("file", 0o640), ("link", 0o644), ("new/er", 0o644)] {
        fs.replace(Path::new(name), b"ours").unwrap();
        let state = std::fs::symlink_metadata(dir.join(name)).unwrap();
        assert!(state.is_file() && state.mode() & 0o7777 == mode, "{name}");
        assert_eq!(std::fs::read_to_string(dir.join(name)).unwrap(), "ours");
    }
    // A hard link keeps the old content: the file is replaced, not written to.
    assert_eq!(std::fs::read_to_string(dir.join("other")).unwrap(), "old\n");
    for (name, why) in [("pipe", "regular file"), ("dir", "is a directory"), ("up/x", "symbolic link")] {
        let error = fs.replace(Path::new(name), b"").unwrap_err();
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    assert_eq!(std::fs::read_to_string(place.path().join("secret")).unwrap(), "S");
    assert!(!place.path().join("x").exists());
    let left = std::fs::read_dir(&dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".atoll-"));
    assert_eq!(left.count(), 0);
}

#[test]
fn entries_have_kinds_and_are_bounded() {
    let place = tempfile::tempdir().unwrap();
    sh(place.path(), "mkdir d; echo > f; ln -s d l; mkfifo p");
    let fs = RootedFs::open(place.path()).unwrap().following_links();
    let entries = fs.entries(Path::new(""), 4).unwrap();
    let kinds: Vec<_> = entries.iter().map(|(name, kind)| (name.to_str().unwrap(), *kind)).collect();
    assert_eq!(
        kinds,
        [("d", EntryKind::Dir), ("f", EntryKind::File), ("l", EntryKind::Link), ("p", EntryKind::Other)]
    );
    assert!(fs.entries(Path::new(""), 3).unwrap_err().to_string().contains("more than 3"));
    assert!(fs.entries(Path::new("l"), 9).is_err() && fs.entries(Path::new("p"), 9).is_err());
}

/// Directories that deny access to their owner. Root has access anyway, so for root only the modes are
/// tested.
#[test]
fn directories_are_unlocked_for_what_is_done_below_them() {
    let place = tempfile::tempdir().unwrap();
    sh(place.path(), "mkdir -p a/b/c out; ln -s ../out a/link; chmod 500 a/b/c; chmod 000 a/b; chmod 500 a");
    let mode = |path: &str| std::fs::metadata(place.path().join(path)).unwrap().mode() & 0o7777;
    sh(place.path(), "chmod 500 out");
    let fs = RootedFs::open(place.path()).unwrap().unlocking();
    let unlocked = fs.unlock_as_owner(Path::new("a/b/c/missing/file"));
    assert_eq!(["a", "a/b", "a/b/c"].map(mode), [0o700; 3]);
    drop(unlocked);
    assert_eq!((mode("a"), mode("out")), (0o500, 0o500));
    let link = fs.unlock_as_owner(Path::new("a/link/x"));
    assert_eq!(mode("out"), 0o500, "no link is followed");
    drop(link);
    fs.put(Path::new("a/b/c/new"), b"x", false).unwrap();
    fs.put(Path::new("/a/b/more/new"), b"x", false).unwrap();
    assert!(fs.is_dir(Path::new("a/b/c")));
    let within = fs.unlock_as_owner(Path::new("a/b/c"));
    assert_eq!(std::fs::read_to_string(place.path().join("a/b/c/new")).unwrap(), "x");
    drop(within);
    sh(place.path(), "chmod 700 a; chmod 700 a/b; stat -c %a a/b/c | grep -qx 500; chmod -R 700 .");
}
