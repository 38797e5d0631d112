//! What is shipped beside the program belongs together: alerts and the runbook, metrics and their table, links and pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const ALERTS: &str = include_str!("../deploy/prometheus/alerts.yml");
const ALERT_TESTS: [&str; 2] = [
    include_str!("../deploy/prometheus/alerts.test.yml"),
    include_str!("../deploy/prometheus/alerts.week.test.yml"),
];
const DASHBOARD: &str = include_str!("../deploy/grafana/dashboard.json");
const DEFAULTS: &str = include_str!("../config/default.toml");
const RUNBOOK: &str = include_str!("../docs/runbook.md");
const OPERATIONS: &str = include_str!("../docs/operations.md");
const SUMMARY: &str = include_str!("../docs/SUMMARY.md");

#[test]
fn every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() {
    let alerts = alerts();
    let sections: Vec<_> = RUNBOOK.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let unexplained: Vec<_> = alerts.iter().filter(|alert| !sections.contains(alert)).collect();
    assert!(unexplained.is_empty(), "no section in docs/runbook.md: {unexplained:?}");
    let unused: Vec<_> = sections.iter().filter(|section| !alerts.contains(*section)).collect();
    assert!(unused.is_empty(), "no alert: {unused:?}");
    assert_eq!(sections.len(), alerts.len(), "a section or an alert is there twice");

    let named: Vec<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    let expected: Vec<_> =
        alerts.iter().map(|alert| format!("\"docs/runbook.md#{}\"", alert.to_lowercase())).collect();
    assert_eq!(named, expected);
}

#[test]
fn every_section_of_the_runbook_says_what_it_must() {
    for section in RUNBOOK.split("\n### ").skip(1) {
        let name = section.lines().next().expect("a heading");
        for part in ["- **Symptom.** ", "- **Meaning.** ", "- **What to do.** ", "- **Verify.** "] {
            assert!(section.contains(part), "{name} lacks {part}");
        }
    }
}

#[test]
fn every_alert_is_tested() {
    let tested: BTreeSet<_> = ALERT_TESTS
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim().strip_prefix("alertname: "))
        .collect();
    let untested: Vec<_> = alerts().into_iter().filter(|alert| !tested.contains(alert)).collect();
    assert!(untested.is_empty(), "no case in alerts.test.yml or alerts.week.test.yml: {untested:?}");
}

#[test]
fn alerts_and_dashboard_use_documented_metrics_only() {
    let table = section(OPERATIONS, "## Metrics");
    let mut unknown = metrics(ALERTS);
    unknown.extend(metrics(DASHBOARD));
    unknown.retain(|name| !table.contains(&format!("`{name}`")));
    assert!(unknown.is_empty(), "not in docs/operations.md: {unknown:?}");
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> =
        pages().into_iter().map(|page| (page.clone(), anchors(&read(&page)))).collect();
    let mut broken = Vec::new();
    for page in anchors.keys() {
        let folder = page.parent().expect("a page is in a folder");
        for link in links(&read(page)) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let Ok(target) = target.canonicalize() else {
                broken.push(format!("{}: {link}", page.display()));
                continue;
            };
            let known = anchors.get(&target);
            if !anchor.is_empty() && known.is_some_and(|known| !known.contains(anchor)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_book_has_every_page_once() {
    let listed = links(SUMMARY);
    let present = fs::read_dir(root().join("docs"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"));
    let mut present: Vec<_> = present.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect();
    let mut in_order = listed.clone();
    in_order.sort();
    present.sort();
    assert_eq!(in_order, present, "docs/SUMMARY.md and the files of docs/");
}

#[test]
fn shipped_files_set_settings_that_exist() {
    let files = [
        "debian/cti-server.env",
        "debian/cti-server.toml",
        "docker/example.env",
        "kubernetes/config.yaml",
        "kubernetes/secret.example.yaml",
    ];
    let others = ["postgres_password", "grafana_password"];
    let mut unknown = Vec::new();
    for file in files {
        let text = read(&root().join("deploy").join(file));
        let (separator, names) = match file.rsplit_once('.') {
            Some((_, "yaml")) => (':', text.rsplit_once("ata:\n").expect("a section of data").1),
            _ => ('=', text.as_str()),
        };
        let set = names
            .lines()
            .filter_map(|line| line.split_once(separator))
            .map(|(name, _)| name.trim().trim_start_matches('#').trim_end().to_ascii_lowercase());
        let set: Vec<_> = set.filter(|name| !name.contains(' ')).collect();
        assert!(set.len() > 2, "no settings were found in {file}");
        unknown.extend(set.into_iter().filter(|name| {
            !others.contains(&name.as_str())
                && !DEFAULTS
                    .lines()
                    .any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} =")))
        }));
    }
    assert!(unknown.is_empty(), "not in config/default.toml: {unknown:?}");
}

#[test]
fn links_and_anchors_are_found_as_renderers_find_them() {
    let text = "# The `GET /x`: a_b, c\n[one](a.md#b) [two](https://x.y) `[no](c.md)`\n```\n[no](d.md)\n# no\n```\n# Twice\n# Twice\n";
    assert_eq!(links(text), ["a.md#b"]);
    let expected = ["the-get-x-a_b-c", "twice", "twice-1"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
}

fn alerts() -> Vec<&'static str> {
    ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// Returns the metrics of the server that a text names, without the endings of a histogram's series.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let own = words.filter(|word| word.starts_with("cti_") || word.starts_with("http_request"));
    own.map(|word| {
        let endings = ["_bucket", "_sum", "_count"];
        endings.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word).to_owned()
    })
    .collect()
}

fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let rest = text.split_once(&format!("\n{heading}\n")).expect("the heading is there").1;
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// Returns the pages of the documentation.
fn pages() -> Vec<PathBuf> {
    let mut pages =
        vec![root().join("README.md"), root().join("CONTRIBUTING.md"), root().join("deploy/README.md")];
    let docs = fs::read_dir(root().join("docs")).expect("a folder");
    pages.extend(
        docs.map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|it| it == "md")),
    );
    pages.into_iter().map(|page| page.canonicalize().expect("a page")).collect()
}

/// Returns the relative links of a page.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Code may look like a link.
        let line: String = line.split('`').step_by(2).collect();
        for link in line.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            if !link.0.contains("://") && !link.0.starts_with("mailto:") {
                found.push(link.0.to_owned());
            }
        }
    }
    found
}

/// Returns the anchors of a page's headings, as GitHub and mdBook name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        let anchor: String = kept.map(|it| if it == ' ' { '-' } else { it }).collect();
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// Returns the lines that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).expect("a readable page")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
