//! One question to Dialpad's REST API, before anybody is named who asks it.

use reqwest::Method;
use serde_json::Value;

macro_rules! endpoints {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// What is asked of Dialpad. Each has its own limit and its own line in the metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Endpoint { $($(#[$doc])* $variant),* }

        impl Endpoint {
            /// All of them.
            pub const ALL: &[Endpoint] = &[$(Self::$variant),*];

            /// The word in the metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label),* }
            }
        }
    };
}

endpoints! {
    /// Trades a code or a refresh token for tokens.
    Token = "token",
    /// Revokes a connection's tokens.
    Deauthorize = "deauthorize",
    /// The user whom a token stands for.
    User = "user",
    /// The company that a token belongs to.
    Company = "company",
    /// Where events are sent.
    Webhooks = "webhooks",
    /// Which events of calls.
    CallSubscriptions = "call_subscriptions",
    /// Which events of messages.
    MessageSubscriptions = "message_subscriptions",
    /// One call.
    Call = "call",
    /// Concluded calls.
    Calls = "calls",
    /// Places a call.
    PlaceCall = "place_call",
    /// What was said on a call.
    Transcript = "transcript",
    /// Audio.
    Recording = "recording",
}

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody does.
    #[default]
    Foreground,
    /// Nobody does: the others go first.
    Background,
}

/// One question.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// What is asked.
    pub endpoint: Endpoint,
    /// How.
    pub method: Method,
    /// Below `/api/v2/`.
    pub path: String,
    /// Parameters.
    pub query: Vec<(&'static str, String)>,
    /// A JSON body.
    pub body: Option<Value>,
    /// Who waits for it.
    pub urgency: Urgency,
}

impl ApiRequest {
    /// A question with this method at this path below `/api/v2/`.
    #[must_use]
    pub fn new(endpoint: Endpoint, method: Method, path: impl Into<String>) -> Self {
        let (query, body) = (Vec::new(), None);
        Self { endpoint, method, path: path.into(), query, body, urgency: Urgency::default() }
    }

    /// A question that changes nothing.
    #[must_use]
    pub fn get(endpoint: Endpoint, path: impl Into<String>) -> Self {
        Self::new(endpoint, Method::GET, path)
    }

    /// The same with one parameter more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn saying(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The same, with time: whoever waits for an answer goes first.
    #[must_use]
    pub fn in_background(mut self) -> Self {
        self.urgency = Urgency::Background;
        self
    }
}
