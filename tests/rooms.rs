//! The rooms of `src` import each other in one direction only: a room knows what is below it, and nothing above.
//!
//! A room is a file or a folder right under `src`. To add one, give it a place in [`FLOORS`].

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The floors, lowest first. Rooms of one floor may import each other.
const FLOORS: [&[&str]; 15] = [
    &["backoff", "database_url", "encryption_keys", "epoch", "net", "tasks", "threads", "tls"],
    &["webhook"],
    &["config"],
    &["telemetry"],
    &["store"],
    &["cluster"],
    &["dialpad"],
    &["recovery", "enrichment"],
    &["jobs"],
    &["spool"],
    &["http"],
    &["console"],
    &["startup", "shutdown"],
    &["commands"],
    &["cli"],
];

/// The files above all floors.
const ROOTS: [&str; 2] = ["lib", "main"];

#[test]
fn rooms_import_only_what_is_below_them() {
    let mut found = Vec::new();
    for file in sources() {
        let room = room_of(&file);
        let Some(floor) = floor_of(&room) else { continue };
        let text = fs::read_to_string(src().join(&file)).expect("a readable source");
        for import in imports(&text, depth_of(&file)) {
            if floor_of(&import).is_some_and(|imported| imported > floor) {
                found.push(format!("{} imports {import}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_room_has_a_floor() {
    let rooms: BTreeSet<String> = sources().iter().map(|file| room_of(file)).collect();
    let homeless: Vec<_> =
        rooms.iter().filter(|room| floor_of(room).is_none() && !ROOTS.contains(&room.as_str())).collect();
    assert!(homeless.is_empty(), "give these rooms a floor: {homeless:?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "
        use crate::store::Store;
        use crate::{config::Config, http::{self, error::ApiError}, jobs};
        use super::super::dialpad::api;
        use super::epoch;
        pub(crate) fn f() -> crate::webhook::payload::Family { crate::recovery::x() }
        // use crate::cli;
    ";
    let expected = ["store", "config", "http", "jobs", "webhook", "recovery", "dialpad"];
    let expected: BTreeSet<String> = expected.map(str::to_owned).into();
    assert_eq!(imports(text, 2), expected);
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the paths of all source files, relative to `src`.
fn sources() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path.strip_prefix(src()).expect("under src").to_owned());
            }
        }
    }
    sources
}

fn room_of(file: &Path) -> String {
    let first = file.iter().next().expect("a path is not empty");
    Path::new(first).file_stem().expect("a name").to_string_lossy().into_owned()
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Returns how many `super` lead from the module of a file to the root of the crate.
fn depth_of(file: &Path) -> usize {
    let is_folder = file.file_stem().is_some_and(|stem| stem == "mod");
    file.iter().count() - usize::from(is_folder)
}

/// Returns the names right under the root of the crate that a source imports.
fn imports(text: &str, depth: usize) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let to_root = "super::".repeat(depth);
    ["crate::", to_root.as_str()].into_iter().flat_map(|prefix| after(&code, prefix)).collect()
}

/// Returns the names that follow a prefix: `prefix::name…`, or those of a list, `prefix::{name…, name…}`.
fn after(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (start, _) in code.match_indices(prefix) {
        let is_continued =
            code[..start].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before));
        if is_continued {
            continue;
        }
        let rest = &code[start + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(first_level(list)),
            None => names.extend(identifier(rest)),
        }
    }
    names
}

/// Returns the first names of the items of a list, which ends with the brace that closes it.
fn first_level(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut item = 0;
    for (place, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.extend(identifier(&list[item..place]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.extend(identifier(&list[item..place]));
                item = place + 1;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end =
        text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
