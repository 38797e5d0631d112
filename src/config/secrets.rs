//! Secrets that anyone could guess: placeholders from a document, and short ones.

use secrecy::{ExposeSecret, SecretString};

use super::settings::Settings;

/// The shortest secret that is accepted in production, in bytes.
const MIN_SECRET_LEN: usize = 16;
/// Makes a good secret.
const GOOD_SECRET: &str = "openssl rand -hex 32";
/// What documents and examples have in place of a secret, without what is between letters and digits.
const PLACEHOLDERS: [&str; 19] = [
    "secret",
    "password",
    "passw0rd",
    "placeholder",
    "example",
    "default",
    "admin",
    "todo",
    "fixme",
    "tbd",
    "none",
    "null",
    "undefined",
    "mysecret",
    "supersecret",
    "topsecret",
    "secretkey",
    "token",
    "redacted",
];

/// Reports secrets that are placeholders. Short ones are reported in production; elsewhere they are a warning.
pub(super) fn check(settings: &mut Settings, name: &str, secrets: &[SecretString], is_production: bool) {
    if secrets.iter().any(|secret| is_placeholder(secret.expose_secret())) {
        settings.report(name, &format!("is a placeholder; make a secret with `{GOOD_SECRET}`"));
        return;
    }
    if secrets.iter().all(|secret| secret.expose_secret().len() >= MIN_SECRET_LEN) {
        return;
    }
    let problem =
        format!("is shorter than {MIN_SECRET_LEN} bytes and can be guessed; make one with `{GOOD_SECRET}`");
    if is_production {
        settings.report(name, &problem);
    } else {
        settings.warn(name, &problem);
    }
}

/// Returns whether a text stands for a secret and is none: dots, `<your secret>`, `changeme`, `xxxx`.
fn is_placeholder(text: &str) -> bool {
    let is_framed = [("<", ">"), ("{", "}"), ("[", "]"), ("${", "}"), ("%", "%")]
        .iter()
        .any(|(open, close)| text.len() > 1 && text.starts_with(open) && text.ends_with(close));
    let letters: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let is_filler = letters.chars().all(|letter| letter == 'x');
    let is_instruction = ["changeme", "changethis", "changeit", "replaceme", "replacethis", "replacewith"]
        .iter()
        .any(|words| letters.contains(words))
        || letters.starts_with("your")
        || letters.starts_with("insert");
    is_framed || is_filler || is_instruction || PLACEHOLDERS.contains(&letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_recognized_in_any_spelling() {
        for text in [
            "…",
            "...",
            "***",
            "-",
            "xxxx",
            "XXXXXXXXXXXXXXXXXXXX",
            "changeme",
            "Change-Me!",
            "CHANGE_ME_NOW",
            "please-change-this-secret",
            "secret",
            "SECRET",
            "my-secret",
            "<secret>",
            "<openssl rand -hex 32>",
            "${WEBHOOK_SECRET}",
            "{{secret}}",
            "%SECRET%",
            "your_webhook_secret_here",
            "password",
            "todo",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn a_secret_that_somebody_chose_is_no_placeholder() {
        for text in [
            "a",
            "dev",
            "the-admin-secret-of-the-tests",
            "simulator-secret",
            "s3cr3t-of-the-office",
            "8c2f0b6f0c5c4b0e9f5d1f6f2f3a4b5c",
            "x7f3",
            "{\"a\":1}x",
        ] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
