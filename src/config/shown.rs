//! The settings in force, as administrators see them.

use reqwest::Url;

/// Words in the names of settings that are secrets.
const SECRETS: [&str; 4] = ["secret", "key", "token", "password"];

/// Returns a setting's value for people: of a secret, only that it is set; of an address, what is no password.
pub(super) fn shown(name: &str, value: &str) -> String {
    let value = value.trim();
    let is_secret = SECRETS.iter().any(|word| name.contains(word)) && !name.ends_with("_file");
    let is_address = name.ends_with("_url") || name.ends_with("_uri");
    if value.is_empty() {
        String::new()
    } else if is_secret {
        "(set)".to_owned()
    } else if is_address {
        without_credentials(value)
    } else {
        value.to_owned()
    }
}

fn without_credentials(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "(set)".to_owned() };
    // Parameters of a database's address may hold a password too.
    url.set_query(None);
    url.set_fragment(None);
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "(set)".to_owned();
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown("internal_api_secret", "one,other"), "(set)");
        assert_eq!(shown("token_encryption_key", "MDEy"), "(set)");
        assert_eq!(shown("metrics_token", ""), "");
        assert_eq!(shown("tls_key_file", "/etc/tls.key"), "/etc/tls.key", "where a secret is, is none");
        let database = "postgres://cti:hunter2@db.example/cti?password=hunter2&sslmode=require";
        assert_eq!(shown("database_url", database), "postgres://cti:***@db.example/cti");
        assert_eq!(shown("database_url", "postgres://cti:hunter2@a,b:x/cti"), "(set)");
        assert_eq!(shown("database_url", "sqlite://data/cti.db"), "sqlite://data/cti.db");
        assert_eq!(shown("interaction_settle", " 5s "), "5s");
    }
}
