//! Errors as clients get them: one table of codes, one form.
//!
//! To add a code, add a line to the table. Its name is stable, because clients decide by it.

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
        /// The code of an error answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ErrorCode { $(#[doc = $meaning] $variant),* }

        impl ErrorCode {
            /// All codes, in the order of the table.
            pub const ALL: &[ErrorCode] = &[$(Self::$variant),*];

            /// Returns the code as clients get it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// Returns what the code means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning.trim_ascii()),* }
            }

            /// Returns the HTTP status of answers with the code.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }
        }
    };
}

codes! {
    /// Something in the request is missing or can't be parsed; the message names it.
    InvalidRequest = "INVALID_REQUEST", BAD_REQUEST;
    /// The authorization was started in another browser or too long ago, or its state is used up.
    OauthStateInvalid = "OAUTH_STATE_INVALID", BAD_REQUEST;
    /// The user refused the authorization.
    OauthDenied = "OAUTH_DENIED", BAD_REQUEST;
    /// The request has no API key.
    MissingApiKey = "MISSING_API_KEY", UNAUTHORIZED;
    /// No app has this API key.
    InvalidApiKey = "INVALID_API_KEY", UNAUTHORIZED;
    /// The request has no bearer.
    MissingBearer = "MISSING_BEARER", UNAUTHORIZED;
    /// Dialpad no longer accepts the app's tokens: authorize the app again.
    TokensExpired = "TOKENS_EXPIRED", UNAUTHORIZED;
    /// The signature of the webhook is missing or wrong.
    InvalidSignature = "INVALID_SIGNATURE", UNAUTHORIZED;
    /// The bearer is wrong.
    Forbidden = "FORBIDDEN", FORBIDDEN;
    /// The request came over plain HTTP, which is not accepted in production.
    HttpsRequired = "HTTPS_REQUIRED", FORBIDDEN;
    /// The app is not active.
    AppInactive = "APP_INACTIVE", FORBIDDEN;
    /// There is no endpoint with this address.
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
    /// There is no recording, or it is no longer available.
    RecordingNotFound = "RECORDING_NOT_FOUND", NOT_FOUND;
    /// There is no such user mapping.
    UserMappingNotFound = "USER_MAPPING_NOT_FOUND", NOT_FOUND;
    /// There is no such webhook in the journal.
    WebhookEventNotFound = "WEBHOOK_EVENT_NOT_FOUND", NOT_FOUND;
    /// There is no such webhook.
    WebhookNotFound = "WEBHOOK_NOT_FOUND", NOT_FOUND;
    /// The address does not accept this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", METHOD_NOT_ALLOWED;
    /// The body took too long to arrive.
    RequestTimeout = "REQUEST_TIMEOUT", REQUEST_TIMEOUT;
    /// The app is not connected to Dialpad.
    NotConnected = "NOT_CONNECTED", CONFLICT;
    /// The webhook was processed, and is not processed twice.
    AlreadyProcessed = "ALREADY_PROCESSED", CONFLICT;
    /// The first request with this idempotency key is in progress.
    IdempotencyKeyInUse = "IDEMPOTENCY_KEY_IN_USE", CONFLICT;
    /// The app has too many named consumers.
    TooManyConsumers = "TOO_MANY_CONSUMERS", CONFLICT;
    /// The cursor is beyond the newest event.
    CursorAhead = "CURSOR_AHEAD", CONFLICT;
    /// The cursor belongs to another epoch: the database was restored, or has lost events.
    EpochChanged = "EPOCH_CHANGED", CONFLICT;
    /// The events after this cursor are no longer kept.
    CursorExpired = "CURSOR_EXPIRED", GONE;
    /// The body is too large.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", PAYLOAD_TOO_LARGE;
    /// The encoding or type of the body is not supported.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", UNSUPPORTED_MEDIA_TYPE;
    /// No part of the recording is in the requested range.
    RangeNotSatisfiable = "RANGE_NOT_SATISFIABLE", RANGE_NOT_SATISFIABLE;
    /// This idempotency key was used for another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", UNPROCESSABLE_ENTITY;
    /// Too many wrong keys or bearers, or too many authorizations, came from this address.
    RateLimited = "RATE_LIMITED", TOO_MANY_REQUESTS;
    /// Dialpad accepts no more requests for now.
    DialpadRateLimited = "DIALPAD_RATE_LIMITED", TOO_MANY_REQUESTS;
    /// The app has too many sessions.
    TooManyConnections = "TOO_MANY_CONNECTIONS", TOO_MANY_REQUESTS;
    /// The server failed.
    Internal = "INTERNAL_ERROR", INTERNAL_SERVER_ERROR;
    /// Dialpad refused the request.
    DialpadRefused = "DIALPAD_REFUSED", BAD_GATEWAY;
    /// Dialpad does not deliver the recording, or its link points to a host that is not allowed.
    RecordingUnavailable = "RECORDING_UNAVAILABLE", BAD_GATEWAY;
    /// Dialpad refused the authorization code.
    TokenExchangeRejected = "TOKEN_EXCHANGE_REJECTED", BAD_GATEWAY;
    /// Dialpad did not confirm the request, and may have executed it.
    OutcomeUnknown = "OUTCOME_UNKNOWN", SERVICE_UNAVAILABLE;
    /// Dialpad can't be reached, or its answers are invalid.
    DialpadUnavailable = "DIALPAD_UNAVAILABLE", SERVICE_UNAVAILABLE;
    /// Dialpad could not be asked for tokens.
    TokenExchangeFailed = "TOKEN_EXCHANGE_FAILED", SERVICE_UNAVAILABLE;
    /// No OAuth client is configured.
    OauthNotConfigured = "OAUTH_NOT_CONFIGURED", SERVICE_UNAVAILABLE;
    /// The connections that share the consumer are at another server.
    ConsumerElsewhere = "CONSUMER_ELSEWHERE", SERVICE_UNAVAILABLE;
    /// The database is unavailable.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", SERVICE_UNAVAILABLE;
}

impl ErrorCode {
    /// Returns how to authenticate, for a 401 about credentials (RFC 9110, section 11.6.1; RFC 6750, section 3).
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
        let names = Self::ALL.iter().map(|code| code.as_str());
        let lines: Vec<String> =
            Self::ALL.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.meaning())).collect();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(names))
            .description(Some(lines.join("\n")))
            .into()
    }
}

impl ToSchema for ErrorCode {}

/// The body of every error answer.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody<'a> {
    /// A sentence for people.
    error: &'a str,
    /// The stable code: base decisions on this field.
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// More data for programs, for some codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
    /// The id of the request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = true)]
    request_id: Option<&'a str>,
}

/// An error answer.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct ApiError {
    /// The stable code, which also decides the status.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// More data for programs.
    pub details: Option<Value>,
    /// After how many seconds to retry; sent as `Retry-After`.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// Creates an error with a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: None, retry_after: None }
    }

    /// Creates the error of a request that is invalid; the message names what is.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// Returns the error of a bug or a broken invariant. It says nothing about the cause; the log does.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "Something went wrong on our side")
    }

    /// Returns the error with details.
    #[must_use]
    pub fn with_details(self, details: impl Into<Value>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    /// Returns the body of the answer.
    #[must_use]
    pub fn body(&self, request_id: Option<&str>) -> Value {
        let code = self.code.as_str();
        json!(ErrorBody { error: &self.message, code, details: self.details.as_ref(), request_id })
    }

    /// Returns the answer, with the id under which the log has the request.
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
            StoreError::Unavailable(_) | StoreError::Unusable(_) => {
                tracing::warn!(error = %failure, "a request failed because the database is unavailable");
                Self {
                    retry_after: Some(1),
                    ..Self::new(ErrorCode::DatabaseUnavailable, "The database is unavailable")
                }
            }
            StoreError::Conflict(_)
            | StoreError::Fenced
            | StoreError::Duplicates(_)
            | StoreError::Rejected(_)
            | StoreError::Corrupt { .. } => {
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
                ..Self::new(ErrorCode::DialpadRateLimited, "Dialpad accepts no more requests for now")
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
mod tests;
