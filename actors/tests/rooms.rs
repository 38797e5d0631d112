//! The rooms of the engine import each other in one direction only.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The rooms, the lowest first: each may import those before it.
const ROOMS: &[&str] = &[
    "background",
    "clock",
    "id",
    "error",
    "tuning",
    "state",
    "model",
    "event",
    "unit",
    "ports",
    "trace",
    "feed",
    "consumer",
    "session",
    "app",
    "engine",
];
/// The fakes for tests may import every room, and no room imports them.
const TESTING: &str = "testing";

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

/// Returns the room of a file: its first folder, or its own name.
fn room_of(file: &Path) -> String {
    let path = file.strip_prefix(sources()).expect("a source file");
    let first = path.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn without_comments(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the first names behind `crate::`, those of a group included.
fn imports_of(source: &str) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for (start, path) in source.match_indices("crate::") {
        let rest = &source[start + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => imports.extend(names_of_group(group)),
            None => imports.extend(leading_name(rest)),
        }
    }
    imports
}

/// Returns the first name of each path in a group, up to its closing brace.
fn names_of_group(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut item = String::new();
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(leading_name(item.split_off(0).trim())),
            letter if depth == 0 => item.push(letter),
            _ => {}
        }
    }
    names.extend(leading_name(item.trim()));
    names
}

fn leading_name(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn a_room_imports_only_the_rooms_below_it() {
    let rank_of = |room: &str| ROOMS.iter().position(|known| *known == room);
    let mut wrong = Vec::new();
    for file in files_below(&sources()) {
        let room = room_of(&file);
        if room == "lib" || room == TESTING {
            continue;
        }
        let rank = rank_of(&room).unwrap_or_else(|| panic!("{room} is a room without a place in the order"));
        let source = without_comments(&fs::read_to_string(&file).expect("a source file"));
        for import in imports_of(&source) {
            if import != room && rank_of(&import).is_none_or(|imported| imported > rank) {
                wrong.push(format!("{} imports {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_path_leaves_its_room_by_super() {
    for file in files_below(&sources()) {
        let source = without_comments(&fs::read_to_string(&file).expect("a source file"));
        let depth = file.strip_prefix(sources()).expect("a source file").iter().count();
        let leaves = if depth == 1 { "super::" } else { "super::super::" };
        // The tests of a file are one level deeper.
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(depth > 2 || !code.contains(leaves), "{} leaves its room", file.display());
    }
}

#[test]
fn imports_are_found_in_groups_and_in_paths() {
    let source =
        "use crate::{\n    error::StoreError,\n    event::{Filter, Frame},\n    id::{AppId, Seq}, ports,\n};
        use crate::feed::{self, Feed};
        fn now() -> crate::clock::Now { crate::Engine }
        pub(crate) fn other() {}";
    let found: Vec<String> = imports_of(source).into_iter().collect();
    assert_eq!(found, ["Engine", "clock", "error", "event", "feed", "id", "ports"]);
}
