//! The table of settings in `docs/operations.md`, generated from `config/default.toml`.

use std::{fmt::Write, fs, path::Path};

use super::DEFAULTS;

const BEGIN: &str = "<!-- settings: generated from config/default.toml -->\n";
const END: &str = "<!-- end of settings -->\n";

/// A setting as the default file describes it.
struct Setting {
    name: String,
    default: String,
    meaning: String,
}

/// Reads the settings in the order of the file. The comment lines directly above a setting are its meaning.
fn settings() -> Vec<Setting> {
    let defaults: toml::Table = DEFAULTS.parse().expect("the default file is valid TOML");
    let mut settings = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
            continue;
        }
        if let Some((name, _)) = line.split_once(" = ") {
            let default = match &defaults[name] {
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            settings.push(Setting { name: name.to_owned(), default, meaning: comment.join(" ") });
        }
        comment.clear();
    }
    assert_eq!(settings.len(), defaults.len(), "a setting is not on a line of its own");
    settings
}

fn table() -> String {
    let mut table = String::from("| variable | default | meaning |\n|---|---|---|\n");
    for Setting { name, default, meaning } in settings() {
        let variable = name.to_ascii_uppercase();
        let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
        writeln!(table, "| `{variable}` | {default} | {meaning} |").expect("a string can be written to");
    }
    table
}

#[test]
fn every_setting_has_a_meaning() {
    for setting in settings() {
        assert!(setting.meaning.ends_with('.'), "{} has no comment that is a sentence", setting.name);
    }
}

#[test]
fn the_table_of_settings_is_generated_from_the_default_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(&path).expect("the page can be read");
    let (before, rest) = page.split_once(BEGIN).expect("the page marks the beginning of the table");
    let (_, after) = rest.split_once(END).expect("the page marks the end of the table");
    let generated = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, generated).expect("the page can be written");
        return;
    }
    assert!(
        page == generated,
        "the table of settings in docs/operations.md differs from config/default.toml; write it again with \
         `UPDATE_DOCS=1 cargo test -p cti-server --lib config`"
    );
}
