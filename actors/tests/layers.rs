//! Who may import whom: the modules below never mention those above.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each layer with the modules that it must not mention, by their paths in this crate.
const LAYERS: &[(&[&str], &[&str])] = &[
    (
        &["id.rs", "clock.rs", "error.rs", "state.rs", "unit.rs", "ports.rs"],
        &["app", "engine", "feed", "session"],
    ),
    (&["model", "event"], &["app", "engine", "feed"]),
    (&["feed"], &["app", "engine", "consumer", "session"]),
    (&["consumer", "session"], &["app", "engine"]),
    (&["app"], &["engine", "consumer", "session"]),
];

fn files_at(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("a folder of sources");
    entries.flat_map(|entry| files_at(&entry.expect("an entry").path())).collect()
}

/// Returns the modules of this crate that a source names: `crate::name`, or the first names of `use crate::{…}`.
fn mentioned(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let name_at = |text: &str| text.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
    let mut names = Vec::new();
    let mut is_in_block = false;
    for line in &code {
        for (at, _) in line.match_indices("crate::") {
            names.push(name_at(&line[at + "crate::".len()..]));
        }
        if *line == "use crate::{" {
            is_in_block = true;
        } else if *line == "};" {
            is_in_block = false;
        } else if is_in_block && line.starts_with("    ") && !line.starts_with("     ") {
            names.push(name_at(line.trim_start()));
        }
    }
    names
}

#[test]
fn no_module_imports_from_a_layer_above_it() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (modules, forbidden) in LAYERS {
        for path in modules.iter().flat_map(|module| files_at(&sources.join(module))) {
            let source = fs::read_to_string(&path).expect("a source file");
            for name in mentioned(&source) {
                assert!(!forbidden.contains(&&*name), "{} imports from `{name}`", path.display());
            }
        }
    }
}
