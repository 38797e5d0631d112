use secrecy::ExposeSecret;

use super::*;

fn read(overlay: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Config::from_parts(overlay, |name| variables.get(name).map(|value| (*value).to_owned()), Needs::Serving)
}

const NEEDED: [(&str, &str); 2] = [("INTERNAL_API_SECRET", "a"), ("DIALPAD_WEBHOOK_SECRET", "b, c\n")];

#[test]
fn the_defaults_need_two_secrets_and_nothing_else() {
    let config = read("", &NEEDED).expect("a good configuration");
    assert_eq!((config.port, config.environment), (4000, Environment::Sandbox));
    let secrets: Vec<_> = config.webhook_secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["b", "c"]);
}

#[test]
fn the_environment_overrides_the_file_and_the_file_overrides_the_defaults() {
    let config = read("port = 1\nhost = \"::1\"", &[&NEEDED[..], &[("PORT", "2")]].concat()).expect("good");
    assert_eq!((config.port, config.host.as_str()), (2, "::1"));
}

#[test]
fn every_wrong_setting_is_named_by_its_variable() {
    let error = read("nonsense = 1", &[("PORT", "x"), ("CTI_ENV", "staging"), ("DATABASE_URL", "mysql://")])
        .expect_err("a bad configuration");
    for name in
        ["nonsense", "PORT:", "CTI_ENV:", "DATABASE_URL:", "INTERNAL_API_SECRET:", "DIALPAD_WEBHOOK_SECRET:"]
    {
        assert_eq!(error.problems.iter().filter(|line| line.contains(name)).count(), 1, "{name} in {error}");
    }
}

#[test]
fn production_requires_https_and_a_key() {
    let error =
        read("cti_env = \"production\"", &[&NEEDED[..], &[("PUBLIC_URL", "http://x.example")]].concat())
            .expect_err("a bad configuration");
    assert!(error.problems.iter().any(|line| line.starts_with("PUBLIC_URL:")), "{error}");
    assert!(error.problems.iter().any(|line| line.starts_with("TOKEN_ENCRYPTION_KEY:")), "{error}");
}

#[test]
fn a_redirect_uri_without_a_path_gets_callback() {
    let given = [&NEEDED[..], &[("DIALPAD_SANDBOX_REDIRECT_URI", "https://cti.example")]].concat();
    let config = read("", &given).expect("good");
    assert_eq!(
        config.dialpad.redirect_uri.map(String::from).as_deref(),
        Some("https://cti.example/callback")
    );
}

#[test]
fn secrets_are_never_printed() {
    let config = read("", &NEEDED).expect("good");
    assert!(!format!("{config:?}").contains("\"a\""));
}
