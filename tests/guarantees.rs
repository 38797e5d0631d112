//! Each promise of `docs/guarantees.md` names tests, and each of them exists.

use std::{fs, path::Path};

const GUARANTEES: &str = include_str!("../docs/guarantees.md");

/// Returns the promises: the first cell of each row, and the tests that its last cell names.
fn promises() -> Vec<(&'static str, Vec<&'static str>)> {
    let rows = GUARANTEES.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let proofs = cells.last().copied().unwrap_or_default();
        (cells[0], proofs.split('`').skip(1).step_by(2).collect())
    })
    .collect()
}

/// Whether a file of this test program, or of this module of it, has the test.
fn exists(test: &str) -> bool {
    let Some((path, name)) = test.rsplit_once("::") else { return false };
    let place = match path.split_once("::") {
        Some(("actors", rest)) => format!("actors/tests/{}.rs", rest.replace("::", "/")),
        _ => format!("tests/{}.rs", path.replace("::", "/")),
    };
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(place)).unwrap_or_default();
    text.contains(&format!("fn {name}("))
}

#[test]
fn every_promise_names_tests_that_exist() {
    let promises = promises();
    assert!(promises.len() > 20, "the tables are read: {promises:?}");
    for (promise, proofs) in &promises {
        assert!(!proofs.is_empty(), "nothing proves: {promise}");
        for test in proofs {
            assert!(exists(test), "{test} does not exist, which is to prove: {promise}");
        }
    }
}
