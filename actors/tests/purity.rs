//! Modules that know no actor, no runtime and no clock stay that way.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders in which every file is pure.
const PURE_FOLDERS: &[&str] = &["model", "event"];

/// Pure files in folders that hold actors as well.
const PURE_FILES: &[&str] = &[
    "app/inbox.rs",
    "app/roster.rs",
    "consumer/exclusive.rs",
    "consumer/partitions.rs",
    "consumer/progress.rs",
    "feed/ring.rs",
    "session/protocol.rs",
    "session/close_code.rs",
    "session/schema.rs",
    "session/snapshot.rs",
    "session/subscribe.rs",
    "session/subscription.rs",
];

/// Words that a pure file does not contain.
const FORBIDDEN: &[&str] = &["actix", "tokio", "now()", "rand::", "async "];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a source file")
}

#[test]
fn pure_files_mention_no_actor_no_runtime_and_no_clock() {
    let folders = PURE_FOLDERS.iter().flat_map(|folder| files_below(&sources().join(folder)));
    let files = PURE_FILES.iter().map(|file| sources().join(file));
    for path in folders.chain(files) {
        let source = read(&path);
        for word in FORBIDDEN {
            assert!(!source.contains(word), "{} mentions {word}", path.display());
        }
    }
}

#[test]
fn only_one_file_knows_the_websocket_library() {
    let mut users = files_below(&sources());
    users.retain(|path| read(path).contains("use actix_web_actors"));
    assert!(matches!(&users[..], [only] if only.ends_with("session/actor.rs")), "{users:?}");
}
