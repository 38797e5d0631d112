//! How to reach Dialpad, and as whom.

use reqwest::Url;
use secrecy::SecretString;

use super::settings::Settings;

/// How to reach Dialpad, and as whom.
#[derive(Clone, Debug)]
pub struct DialpadConfig {
    /// Where it is.
    pub base_url: Url,
    /// Our OAuth client there.
    pub client: Option<OauthClient>,
    /// Where it sends people back to; `None`: `/callback` at our public address.
    pub redirect_uri: Option<Url>,
    /// What to ask for.
    pub scopes: Vec<String>,
    /// A static key of one organisation.
    pub api_key: Option<SecretString>,
}

/// An OAuth client.
#[derive(Clone, Debug)]
pub struct OauthClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
}

impl DialpadConfig {
    pub(super) fn read(settings: &mut Settings, production: bool) -> Option<Self> {
        let names = if production {
            [
                "dialpad_prod_client_id",
                "dialpad_prod_client_secret",
                "dialpad_prod_redirect_uri",
                "dialpad_prod_base_url",
            ]
        } else {
            [
                "dialpad_sandbox_client_id",
                "dialpad_sandbox_client_secret",
                "dialpad_sandbox_redirect_uri",
                "dialpad_sandbox_base_url",
            ]
        };
        let [id_name, secret_name, redirect_name, base_name] = names;
        // Those of the other environment are not used, but what is wrong in them is wrong all the same.
        let other = if production { "sandbox" } else { "prod" };
        for unused in ["redirect_uri", "base_url"] {
            settings.url(&format!("dialpad_{other}_{unused}"), false);
        }
        let (id, secret) = (settings.text(id_name), settings.secret(secret_name));
        let client = match (id, secret) {
            (Some(id), Some(secret)) => Some(OauthClient { id, secret }),
            (None, None) => None,
            (Some(_), None) => {
                settings.complain(secret_name, &format!("is required with {}", id_name.to_ascii_uppercase()));
                None
            }
            (None, Some(_)) => {
                settings.complain(id_name, &format!("is required with {}", secret_name.to_ascii_uppercase()));
                None
            }
        };
        let redirect_uri = settings.url(redirect_name, production).map(|mut uri| {
            if uri.path() == "/" {
                uri.set_path("/callback");
            }
            uri
        });
        let base_url = settings.url(base_name, false);
        if base_url.is_none() && !settings.has_problem(base_name) {
            settings.complain(base_name, "is required");
        }
        let scopes = settings.text("dialpad_scopes").unwrap_or_default();
        let scopes = scopes.split_whitespace().map(str::to_owned).collect();
        let api_key = settings.secret("dialpad_api_key");
        Some(Self { base_url: base_url?, client, redirect_uri, scopes, api_key })
    }
}
