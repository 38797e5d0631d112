//! Settings as text: where each comes from, how it is read, and what is wrong with it.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// The longest time that anything is set to; longer ones would end before the beginning of time.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// The settings as text, and what is wrong with them.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) values: BTreeMap<String, String>,
    pub(super) known: Vec<String>,
    pub(super) problems: Vec<String>,
}

impl Settings {
    pub(super) fn lay_over(&mut self, text: &str, origin: &str) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.problems.push(format!("{origin}: {}", error.to_string().trim())),
        };
        for (name, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Table(_) | toml::Value::Array(_) => {
                    self.problems.push(format!("{origin}: {name} must be a single value"));
                    continue;
                }
                other => other.to_string(),
            };
            if !self.known.is_empty() && !self.known.contains(&name) {
                self.problems.push(format!("{origin}: {name} is no setting"));
                continue;
            }
            self.values.insert(name, value);
        }
    }

    pub(super) fn complain(&mut self, name: &str, problem: &str) {
        self.problems.push(format!("{}: {problem}", name.to_ascii_uppercase()));
    }

    pub(super) fn has_problem(&self, name: &str) -> bool {
        let name = format!("{}:", name.to_ascii_uppercase());
        self.problems.iter().any(|problem| problem.starts_with(&name))
    }

    /// A text that is set. White space around it is nobody's intention: a line break at the end of a secret is
    /// the classic reason for a 401.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn parse<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(&self.text(name).unwrap_or_default()) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.complain(name, &problem);
                None
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        self.parse(name, |text| match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!("must be a whole number from {least} to {most}")),
        })
    }

    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        self.parse(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".into()),
        })
    }

    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.parse(name, |text| match humantime::parse_duration(text) {
            Ok(duration) if (Duration::from_secs(1)..=LONGEST).contains(&duration) => Ok(duration),
            Ok(_) => Err("must be from 1s to 100 years".into()),
            Err(error) => Err(format!("must be a length of time such as 30d, 36h or 5s: {error}")),
        })
    }

    pub(super) fn url(&mut self, name: &str, https: bool) -> Option<Url> {
        let text = self.text(name)?;
        self.parse(name, |_| {
            let url = Url::parse(&text).map_err(|error| format!("is no URL: {error}"))?;
            match url.scheme() {
                "https" => Ok(url),
                "http" if !https => Ok(url),
                "http" => Err("must be https in production".into()),
                _ => Err("must begin with https:// or http://".into()),
            }
        })
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    pub(super) fn secrets(&mut self, name: &str) -> Vec<SecretString> {
        let Some(text) = self.secret(name) else { return Vec::new() };
        let parts: Vec<&str> = text.expose_secret().split(',').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty()) {
            self.complain(name, "has an empty part between commas");
            return Vec::new();
        }
        parts.into_iter().map(SecretString::from).collect()
    }
}
