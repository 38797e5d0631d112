//! Where Dialpad is, and the server's credentials there.

use reqwest::Url;
use secrecy::SecretString;

use super::settings::Settings;

/// Where Dialpad is, and the server's credentials there.
#[derive(Clone, Debug)]
pub struct DialpadConfig {
    /// `DIALPAD_…_BASE_URL`.
    pub base_url: Url,
    /// The OAuth client, if one is configured.
    pub client: Option<OauthClient>,
    /// `DIALPAD_…_REDIRECT_URI`; `None`: `/callback` at the public URL.
    pub redirect_uri: Option<Url>,
    /// `DIALPAD_SCOPES`.
    pub scopes: Vec<String>,
    /// `DIALPAD_API_KEY`: a static key of one organization.
    pub api_key: Option<SecretString>,
}

/// The server's OAuth client at Dialpad.
#[derive(Clone, Debug)]
pub struct OauthClient {
    /// `DIALPAD_…_CLIENT_ID`.
    pub id: String,
    /// `DIALPAD_…_CLIENT_SECRET`.
    pub secret: SecretString,
}

/// The names of the settings that each environment has.
struct Names {
    client_id: &'static str,
    client_secret: &'static str,
    redirect_uri: &'static str,
    base_url: &'static str,
}

const SANDBOX: Names = Names {
    client_id: "dialpad_sandbox_client_id",
    client_secret: "dialpad_sandbox_client_secret",
    redirect_uri: "dialpad_sandbox_redirect_uri",
    base_url: "dialpad_sandbox_base_url",
};
const PRODUCTION: Names = Names {
    client_id: "dialpad_prod_client_id",
    client_secret: "dialpad_prod_client_secret",
    redirect_uri: "dialpad_prod_redirect_uri",
    base_url: "dialpad_prod_base_url",
};

impl DialpadConfig {
    pub(super) fn read(settings: &mut Settings, is_production: bool) -> Option<Self> {
        let (used, unused) = if is_production { (PRODUCTION, SANDBOX) } else { (SANDBOX, PRODUCTION) };
        // The settings of the other environment are checked too.
        settings.url(unused.redirect_uri, false);
        settings.url(unused.base_url, false);

        let client = OauthClient::read(settings, &used);
        let redirect_uri = settings.url(used.redirect_uri, is_production).map(|mut uri| {
            if uri.path() == "/" {
                uri.set_path("/callback");
            }
            uri
        });
        let base_url = settings.url(used.base_url, false);
        if base_url.is_none() && !settings.has_problem(used.base_url) {
            settings.report(used.base_url, "is required");
        }
        let scopes = settings.text("dialpad_scopes").unwrap_or_default();
        let scopes = scopes.split_whitespace().map(str::to_owned).collect();
        let api_key = settings.secret("dialpad_api_key");
        Some(Self { base_url: base_url?, client, redirect_uri, scopes, api_key })
    }
}

impl OauthClient {
    fn read(settings: &mut Settings, names: &Names) -> Option<Self> {
        match (settings.text(names.client_id), settings.secret(names.client_secret)) {
            (Some(id), Some(secret)) => Some(Self { id, secret }),
            (None, None) => None,
            (Some(_), None) => {
                let other = names.client_id.to_ascii_uppercase();
                settings.report(names.client_secret, &format!("is required with {other}"));
                None
            }
            (None, Some(_)) => {
                let other = names.client_secret.to_ascii_uppercase();
                settings.report(names.client_id, &format!("is required with {other}"));
                None
            }
        }
    }
}
