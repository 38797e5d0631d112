//! How clients authenticate, and which operations accept which credentials.

use utoipa::{
    Modify,
    openapi::{
        OpenApi, SecurityRequirement,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// Who may send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Every client.
    Public,
    /// An app, by its key in a header.
    Crm,
    /// An app, by its key in a header or in the query.
    CrmOrQuery,
    /// An app, by its key in a header, in the query or in the first message.
    Socket,
    /// An administrator, by the internal bearer.
    Administrator,
    /// A monitoring system, by a bearer if one is configured.
    Monitor,
    /// Dialpad, by its signature.
    Dialpad,
}

impl Access {
    /// The schemes, one of which is required. An empty name allows the request without any: where credentials are
    /// optional, or in a place that no scheme can describe.
    fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Public => &[],
            Self::Crm => &["api_key", "app_api_key", "api_key_as_bearer"],
            Self::CrmOrQuery => &["api_key", "app_api_key", "api_key_as_bearer", "api_key_in_query"],
            Self::Socket => &["api_key", "app_api_key", "api_key_as_bearer", "api_key_in_query", ""],
            Self::Administrator => &["internal_secret"],
            Self::Monitor => &["metrics_token", ""],
            Self::Dialpad => &["webhook_signature", ""],
        }
    }

    /// Sets the security of all operations of a document.
    pub(crate) fn secure(self, document: &mut OpenApi) {
        let requirement = |scheme: &&'static str| match *scheme {
            "" => SecurityRequirement::default(),
            name => SecurityRequirement::new(name, Vec::<String>::new()),
        };
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            operation.security = Some(self.schemes().iter().map(requirement).collect());
        }
    }
}

/// Returns the operations of a path.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.head, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// Adds the descriptions of all schemes.
pub(crate) struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, scheme) in schemes() {
            components.add_security_scheme(name, scheme);
        }
    }
}

fn schemes() -> [(&'static str, SecurityScheme); 7] {
    let header = |name: &str, description: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)))
    };
    let bearer = |description: &str| {
        let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description));
        SecurityScheme::Http(http.build())
    };
    let in_query = "The app's key, for browsers, which can't set headers here. The server never logs it.";
    let signature = "HMAC-SHA256 of the body as sent, in hexadecimal or Base64, with or without the prefix `sha256=`. \
                     Not needed if the body is a JWS.";
    [
        ("api_key", header("x-api-key", "The app's key.")),
        ("app_api_key", header("x-app-api-key", "The app's key, under its other name.")),
        ("api_key_as_bearer", bearer("The app's key.")),
        (
            "api_key_in_query",
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description("api_key", in_query))),
        ),
        ("internal_secret", bearer("`INTERNAL_API_SECRET`.")),
        ("metrics_token", bearer("`METRICS_TOKEN`, if it is set.")),
        ("webhook_signature", header("x-dialpad-signature", signature)),
    ]
}
