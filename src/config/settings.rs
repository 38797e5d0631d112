//! Settings as text: the layers, how values are parsed, and the problems found.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::shown::shown;

/// Longer durations would reach back beyond the earliest representable time.
const MAX_DURATION: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// The settings as text, and the problems found so far.
#[derive(Default)]
pub(super) struct Settings {
    values: BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
    /// What is accepted, but should be changed.
    pub(super) warnings: Vec<String>,
}

impl Settings {
    /// Reads the default file, which names every setting.
    pub(super) fn new(defaults: &str) -> Self {
        let mut settings = Self::default();
        settings.values = settings.parse_file(defaults, "config/default.toml").into_iter().collect();
        settings
    }

    /// Overrides values with those of a file. An unknown name is a problem.
    pub(super) fn override_with_file(&mut self, text: &str) {
        for (name, value) in self.parse_file(text, "--config") {
            match self.values.entry(name) {
                Entry::Occupied(mut known) => _ = known.insert(value),
                Entry::Vacant(unknown) => {
                    self.problems.push(format!("--config: {} is not a setting", unknown.key()));
                }
            }
        }
    }

    /// Overrides values with those of environment variables.
    pub(super) fn override_with_variables(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for (name, value) in &mut self.values {
            if let Some(text) = variable(&name.to_ascii_uppercase()) {
                *value = text;
            }
        }
    }

    fn parse_file(&mut self, text: &str, origin: &str) -> Vec<(String, String)> {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                self.problems.push(format!("{origin}: {}", error.to_string().trim()));
                return Vec::new();
            }
        };
        let mut values = Vec::new();
        for (name, value) in table {
            match value {
                toml::Value::String(text) => values.push((name, text)),
                toml::Value::Table(_) | toml::Value::Array(_) => {
                    self.problems.push(format!("{origin}: {name} must be a single value"));
                }
                other => values.push((name, other.to_string())),
            }
        }
        values
    }

    /// Returns each variable with its value, for people.
    pub(super) fn shown(&self) -> Vec<(String, String)> {
        self.values.iter().map(|(name, value)| (name.to_ascii_uppercase(), shown(name, value))).collect()
    }

    /// Adds a problem of a setting.
    pub(super) fn report(&mut self, name: &str, problem: &str) {
        self.problems.push(format!("{}: {problem}", name.to_ascii_uppercase()));
    }

    /// Adds a warning about a setting.
    pub(super) fn warn(&mut self, name: &str, problem: &str) {
        self.warnings.push(format!("{}: {problem}", name.to_ascii_uppercase()));
    }

    pub(super) fn has_problem(&self, name: &str) -> bool {
        let name = format!("{}:", name.to_ascii_uppercase());
        self.problems.iter().any(|problem| problem.starts_with(&name))
    }

    /// Returns a text that is set. White space around it is never intended: a line break at the end of a secret is the
    /// usual reason for a 401.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Parses a text, empty if it is not set. An error is reported.
    pub(super) fn parse<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(&self.text(name).unwrap_or_default()) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report(name, &problem);
                None
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        self.parse(name, |text| match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(format!("must be a whole number from {min} to {max}")),
        })
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.parse(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".into()),
        })
    }

    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.parse(name, |text| match humantime::parse_duration(text) {
            Ok(duration) if (Duration::from_secs(1)..=MAX_DURATION).contains(&duration) => Ok(duration),
            Ok(_) => Err("must be from 1s to 100 years".into()),
            Err(error) => Err(format!("must be a duration such as 30d, 36h or 5s: {error}")),
        })
    }

    /// Parses a duration, or a word that stands for none.
    pub(super) fn duration_or(&mut self, word: &str, name: &str) -> Option<Option<Duration>> {
        if self.text(name).is_some_and(|text| text == word) {
            return Some(None);
        }
        self.duration(name).map(Some)
    }

    /// Parses a duration that may be zero.
    pub(super) fn pause(&mut self, name: &str, max: Duration) -> Option<Duration> {
        self.parse(name, |text| match humantime::parse_duration(text) {
            Ok(duration) if duration <= max => Ok(duration),
            Ok(_) => Err(format!("must be from 0s to {}", humantime::format_duration(max))),
            Err(error) => Err(format!("must be a duration such as 10s or 2m: {error}")),
        })
    }

    /// Parses a URL, if one is set.
    pub(super) fn url(&mut self, name: &str, requires_https: bool) -> Option<Url> {
        let text = self.text(name)?;
        self.parse(name, |_| {
            let url = Url::parse(&text).map_err(|error| format!("must be a URL: {error}"))?;
            match url.scheme() {
                "https" => Ok(url),
                "http" if !requires_https => Ok(url),
                "http" => Err("must be https in production".into()),
                _ => Err("must begin with https:// or http://".into()),
            }
        })
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// Splits a secret at its commas.
    pub(super) fn secrets(&mut self, name: &str) -> Vec<SecretString> {
        let Some(text) = self.secret(name) else { return Vec::new() };
        let parts: Vec<&str> = text.expose_secret().split(',').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty()) {
            self.report(name, "has an empty part between commas");
            return Vec::new();
        }
        parts.into_iter().map(SecretString::from).collect()
    }
}
