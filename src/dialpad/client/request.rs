//! One request to Dialpad's REST API, independent of the app that sends it.

use reqwest::Method;
use serde_json::Value;
use strum::{IntoStaticStr, VariantArray};

/// The endpoints of Dialpad that are used; also the `endpoint` label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Endpoint {
    /// Exchanges a code, or a refresh token, for tokens.
    Token,
    /// Revokes the tokens of a connection.
    Deauthorize,
    /// The user that a token belongs to.
    User,
    /// The list of a company's users.
    Users,
    /// The company that a token belongs to.
    Company,
    /// Webhooks: where events are sent.
    Webhooks,
    /// Subscriptions of a webhook to calls.
    CallSubscriptions,
    /// Subscriptions of a webhook to text messages.
    MessageSubscriptions,
    /// One call.
    Call,
    /// The list of concluded calls.
    Calls,
    /// Places a call.
    PlaceCall,
    /// The transcript of a call.
    Transcript,
    /// The audio of a recording or voicemail.
    Recording,
}

impl Endpoint {
    /// Returns the label in the metrics and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// A client does; the request may use all of the rate limit.
    #[default]
    Foreground,
    /// Nobody does; half of the rate limit is left to the others.
    Background,
}

/// A request to the REST API. Times out and is retried as [`super::DialpadClient::send`] says.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// Decides rate limit, retries and metrics.
    pub endpoint: Endpoint,
    /// The HTTP method.
    pub method: Method,
    /// The path below `/api/v2/`.
    pub path: String,
    /// The query parameters.
    pub query: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Option<Value>,
    /// Whether somebody waits for the answer.
    pub urgency: Urgency,
}

impl ApiRequest {
    /// Creates a foreground request without parameters and body. `path` is below `/api/v2/`.
    #[must_use]
    pub fn new(endpoint: Endpoint, method: Method, path: impl Into<String>) -> Self {
        Self {
            endpoint,
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            urgency: Urgency::default(),
        }
    }

    /// Creates a GET request.
    #[must_use]
    pub fn get(endpoint: Endpoint, path: impl Into<String>) -> Self {
        Self::new(endpoint, Method::GET, path)
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Sets the JSON body.
    #[must_use]
    pub fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Makes it a background request.
    #[must_use]
    pub fn in_background(mut self) -> Self {
        self.urgency = Urgency::Background;
        self
    }
}
