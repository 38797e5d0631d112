//! What a client is told when something can't be done: one table of codes, one shape.
//!
//! To add a code: a line in the table. Its name on the wire is stable for ever; clients decide by it.

use std::borrow::Cow;

use actix_web::{HttpResponse, ResponseError, http::StatusCode, http::header};
use cti_actors::error::{AuthError, StoreError};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use crate::dialpad::{
    client::{DialpadError, whole_seconds},
    oauth::access::NoAccess,
};

macro_rules! codes {
    ($(#[doc = $meaning:literal] $variant:ident = $code:literal, $status:ident;)*) => {
        /// Every code that an error answer can have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ErrorCode { $(#[doc = $meaning] $variant),* }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[ErrorCode] = &[$(Self::$variant),*];

            /// The name on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning.trim_ascii()),* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }
        }
    };
}

codes! {
    /// Something in the request is missing or can't be understood; the sentence names it.
    InvalidRequest = "INVALID_REQUEST", BAD_REQUEST;
    /// The authorisation was begun elsewhere, too long ago, or was finished already.
    OauthStateInvalid = "OAUTH_STATE_INVALID", BAD_REQUEST;
    /// The user refused.
    OauthDenied = "OAUTH_DENIED", BAD_REQUEST;
    /// The request carries no API key.
    MissingApiKey = "MISSING_API_KEY", UNAUTHORIZED;
    /// No app has this API key.
    InvalidApiKey = "INVALID_API_KEY", UNAUTHORIZED;
    /// The request carries no bearer.
    MissingBearer = "MISSING_BEARER", UNAUTHORIZED;
    /// The app's tokens are dead; somebody has to authorise again.
    TokensExpired = "TOKENS_EXPIRED", UNAUTHORIZED;
    /// Nobody whom we know signed this webhook.
    InvalidSignature = "INVALID_SIGNATURE", UNAUTHORIZED;
    /// The bearer is wrong.
    Forbidden = "FORBIDDEN", FORBIDDEN;
    /// The request came over plain http, which production does not take.
    HttpsRequired = "HTTPS_REQUIRED", FORBIDDEN;
    /// The app is switched off.
    AppInactive = "APP_INACTIVE", FORBIDDEN;
    /// There is nothing at this address.
    NotFound = "NOT_FOUND", NOT_FOUND;
    /// There is no such app.
    AppNotFound = "APP_NOT_FOUND", NOT_FOUND;
    /// There is no such call.
    CallNotFound = "CALL_NOT_FOUND", NOT_FOUND;
    /// There is no such interaction.
    InteractionNotFound = "INTERACTION_NOT_FOUND", NOT_FOUND;
    /// There is no such consumer.
    ConsumerNotFound = "CONSUMER_NOT_FOUND", NOT_FOUND;
    /// There is no such voicemail.
    VoicemailNotFound = "VOICEMAIL_NOT_FOUND", NOT_FOUND;
    /// There is no such message.
    MessageNotFound = "MESSAGE_NOT_FOUND", NOT_FOUND;
    /// There is no recording, or it can't be had any more.
    RecordingNotFound = "RECORDING_NOT_FOUND", NOT_FOUND;
    /// There is no such user mapping.
    UserMappingNotFound = "USER_MAPPING_NOT_FOUND", NOT_FOUND;
    /// There is no such webhook in the journal.
    WebhookEventNotFound = "WEBHOOK_EVENT_NOT_FOUND", NOT_FOUND;
    /// There is no such webhook.
    WebhookNotFound = "WEBHOOK_NOT_FOUND", NOT_FOUND;
    /// The address exists, but not for this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", METHOD_NOT_ALLOWED;
    /// The app is not connected to Dialpad.
    NotConnected = "NOT_CONNECTED", CONFLICT;
    /// The webhook was processed, and is not processed twice.
    AlreadyProcessed = "ALREADY_PROCESSED", CONFLICT;
    /// A request with this idempotency key is under way.
    IdempotencyKeyInUse = "IDEMPOTENCY_KEY_IN_USE", CONFLICT;
    /// The app has too many named consumers.
    TooManyConsumers = "TOO_MANY_CONSUMERS", CONFLICT;
    /// The cursor lies beyond the newest event.
    CursorAhead = "CURSOR_AHEAD", CONFLICT;
    /// The events behind this cursor are no longer kept.
    CursorExpired = "CURSOR_EXPIRED", GONE;
    /// The body is too big.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", PAYLOAD_TOO_LARGE;
    /// The body has an encoding or type that is not understood.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", UNSUPPORTED_MEDIA_TYPE;
    /// No part of the recording lies in the range that was asked for.
    RangeNotSatisfiable = "RANGE_NOT_SATISFIABLE", RANGE_NOT_SATISFIABLE;
    /// This idempotency key was used for another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", UNPROCESSABLE_ENTITY;
    /// Too many wrong keys or bearers came from this address, or too many authorizations were begun there.
    RateLimited = "RATE_LIMITED", TOO_MANY_REQUESTS;
    /// Dialpad takes no more requests for now.
    DialpadRateLimited = "DIALPAD_RATE_LIMITED", TOO_MANY_REQUESTS;
    /// The app has too many listeners.
    TooManyConnections = "TOO_MANY_CONNECTIONS", TOO_MANY_REQUESTS;
    /// Something broke on our side.
    Internal = "INTERNAL_ERROR", INTERNAL_SERVER_ERROR;
    /// Dialpad refused what it was asked.
    DialpadRefused = "DIALPAD_REFUSED", BAD_GATEWAY;
    /// Dialpad does not give the recording, or it may not be fetched from where it is.
    RecordingUnavailable = "RECORDING_UNAVAILABLE", BAD_GATEWAY;
    /// Dialpad refused the authorisation code.
    TokenExchangeRejected = "TOKEN_EXCHANGE_REJECTED", BAD_GATEWAY;
    /// Dialpad did not say whether it did what it was asked, and may have.
    OutcomeUnknown = "OUTCOME_UNKNOWN", SERVICE_UNAVAILABLE;
    /// Dialpad can't be reached, or its answers make no sense.
    DialpadUnavailable = "DIALPAD_UNAVAILABLE", SERVICE_UNAVAILABLE;
    /// Dialpad could not be asked for tokens.
    TokenExchangeFailed = "TOKEN_EXCHANGE_FAILED", SERVICE_UNAVAILABLE;
    /// No OAuth client is configured.
    OauthNotConfigured = "OAUTH_NOT_CONFIGURED", SERVICE_UNAVAILABLE;
    /// The connections that share a consumer are at another process.
    ConsumerElsewhere = "CONSUMER_ELSEWHERE", SERVICE_UNAVAILABLE;
    /// The database can't be reached.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", SERVICE_UNAVAILABLE;
}

impl ErrorCode {
    /// How to authenticate, where that was what was missing or wrong: RFC 9110 wants a 401 to say so, RFC 6750 how.
    fn challenge(self) -> Option<&'static str> {
        match self {
            Self::MissingApiKey | Self::MissingBearer => Some("Bearer realm=\"cti-server\""),
            Self::InvalidApiKey => Some("Bearer realm=\"cti-server\", error=\"invalid_token\""),
            _ => None,
        }
    }
}

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.iter().map(|code| code.as_str());
        let lines: Vec<String> =
            Self::ALL.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.meaning())).collect();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(words))
            .description(Some(lines.join("\n")))
            .into()
    }
}

impl ToSchema for ErrorCode {}

/// What an error answer says.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody<'a> {
    /// A sentence for people.
    error: &'a str,
    /// Its stable code: decide by this one.
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// More for machines, where the code has more.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
    /// Finds in the server's log what was said about the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = true)]
    request_id: Option<&'a str>,
}

/// An error answer.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct ApiError {
    /// Its code.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// More for machines.
    pub details: Option<Value>,
    /// After how many seconds to try again.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error with a sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: None, retry_after: None }
    }

    /// A request that can't be understood.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// Returns the error of a bug or a broken invariant. It says nothing about the cause; the log does.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "Something went wrong on our side")
    }

    /// The same error with details.
    #[must_use]
    pub fn with_details(self, details: impl Into<Value>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    /// What the answer says; `request_id` finds it in the log.
    #[must_use]
    pub fn body(&self, request_id: Option<&str>) -> Value {
        let code = self.code.as_str();
        json!(ErrorBody { error: &self.message, code, details: self.details.as_ref(), request_id })
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self, request_id: Option<&str>) -> HttpResponse {
        let mut answer = HttpResponse::build(self.code.status());
        if let Some(seconds) = self.retry_after {
            answer.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(challenge) = self.code.challenge() {
            answer.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        answer.json(self.body(request_id))
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.answer(None)
    }
}

impl From<StoreError> for ApiError {
    fn from(failure: StoreError) -> Self {
        match failure {
            StoreError::Unavailable(_) => {
                tracing::warn!(error = %failure, "a request has to wait for the database");
                Self {
                    retry_after: Some(1),
                    ..Self::new(ErrorCode::DatabaseUnavailable, "The database can't be reached")
                }
            }
            StoreError::Conflict(_) | StoreError::Rejected(_) | StoreError::Corrupt { .. } => {
                tracing::error!(error = %failure, "the store failed");
                Self::internal()
            }
        }
    }
}

impl From<NoAccess> for ApiError {
    fn from(reason: NoAccess) -> Self {
        let message = reason.to_string();
        match reason {
            NoAccess::NotConnected => {
                Self::new(ErrorCode::NotConnected, "The app is not connected to Dialpad")
            }
            NoAccess::Expired => Self::new(ErrorCode::TokensExpired, message),
            NoAccess::Degraded(_) => {
                Self { retry_after: Some(5), ..Self::new(ErrorCode::DialpadUnavailable, message) }
            }
            NoAccess::Store(failure) => failure.into(),
        }
    }
}

impl From<DialpadError> for ApiError {
    fn from(error: DialpadError) -> Self {
        let seconds = |after| u32::try_from(whole_seconds(after).max(1)).ok();
        let message = error.to_string();
        match error {
            DialpadError::NoAccess(reason) => reason.into(),
            DialpadError::RateLimited { retry_after } => Self {
                retry_after: seconds(retry_after),
                ..Self::new(ErrorCode::DialpadRateLimited, "Dialpad takes no more requests for now")
            },
            DialpadError::CircuitOpen { retry_after } => Self {
                retry_after: seconds(retry_after),
                ..Self::new(ErrorCode::DialpadUnavailable, message)
            },
            DialpadError::Unreachable(_) | DialpadError::InvalidResponse => {
                Self { retry_after: Some(5), ..Self::new(ErrorCode::DialpadUnavailable, message) }
            }
            DialpadError::Refused(status) if status.is_server_error() => {
                Self { retry_after: Some(5), ..Self::new(ErrorCode::DialpadUnavailable, message) }
            }
            DialpadError::Refused(_) => Self::new(ErrorCode::DialpadRefused, message),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(denial: AuthError) -> Self {
        let message = denial.to_string();
        match denial {
            AuthError::UnknownKey => Self::new(ErrorCode::InvalidApiKey, message),
            AuthError::AppInactive => Self::new(ErrorCode::AppInactive, message),
            AuthError::Store(failure) => failure.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_unique_and_an_error() {
        let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(
            ErrorCode::ALL
                .iter()
                .all(|code| code.status().is_client_error() || code.status().is_server_error())
        );
    }
}
