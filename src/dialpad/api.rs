//! What the server requests from Dialpad for an app.

use chrono::{DateTime, Utc};
use cti_actors::id::{AppId, DialpadCallId};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    client::{
        DialpadClient, DialpadError, NEVER_CONNECTED, id, id_text,
        request::{ApiRequest, Endpoint, Urgency},
    },
    oauth::access::AccessBook,
};

/// Dialpad's API for apps: finds the app's token, sends the request, and refreshes a token that is not accepted. Cheap
/// to clone.
#[derive(Clone)]
pub struct Dialpad {
    /// Sends requests with any token.
    pub client: DialpadClient,
    /// Finds the token of an app.
    pub access: AccessBook,
}

/// A page of the list of concluded calls, newest first.
#[derive(Clone, Debug)]
pub struct ConcludedCalls {
    /// The calls, as the JSON objects that Dialpad shows (`CallProto` of its OpenAPI document).
    pub calls: Vec<Map<String, Value>>,
    /// The cursor of the next page, if there is one.
    pub cursor: Option<String>,
}

/// A call to place.
#[derive(Clone, Debug)]
pub struct CallOrder {
    /// The user whose telephones ring first.
    pub dialpad_user_id: i64,
    /// The number to call, E.164.
    pub phone_number: String,
    /// Text that Dialpad returns with every event of the call.
    pub custom_data: Option<String>,
}

impl Dialpad {
    /// Sends a request for an app. After a 401 it refreshes the token and sends the request once more. Returns the JSON
    /// body.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn send(&self, app: AppId, request: &ApiRequest) -> Result<Value, DialpadError> {
        let access = self.access.of(app).await?;
        match self.client.send(&access, request).await {
            Err(DialpadError::Refused(StatusCode::UNAUTHORIZED)) => {
                let access = self.access.after_refusal(app, &access).await?;
                self.client.send(&access, request).await
            }
            answer => answer,
        }
    }

    /// Returns a call as the JSON object that Dialpad shows; `None` if there is no such call.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn call(
        &self,
        app: AppId,
        call: DialpadCallId,
        urgency: Urgency,
    ) -> Result<Option<Map<String, Value>>, DialpadError> {
        let request = ApiRequest { urgency, ..ApiRequest::get(Endpoint::Call, format!("call/{call}")) };
        match self.send(app, &request).await {
            Ok(Value::Object(call)) => Ok(Some(call)),
            Ok(_) => Err(DialpadError::InvalidResponse),
            Err(DialpadError::Refused(StatusCode::NOT_FOUND)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the transcript of a call, one line per utterance; `None` if there is none.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn transcript(
        &self,
        app: AppId,
        call: DialpadCallId,
        urgency: Urgency,
    ) -> Result<Option<String>, DialpadError> {
        let request =
            ApiRequest { urgency, ..ApiRequest::get(Endpoint::Transcript, format!("transcripts/{call}")) };
        match self.send(app, &request).await {
            Ok(transcript) => Ok(spoken_lines(&transcript)),
            Err(DialpadError::Refused(StatusCode::NOT_FOUND)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a page of the concluded calls that began in this time.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn concluded_calls(
        &self,
        app: AppId,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        cursor: Option<&str>,
    ) -> Result<ConcludedCalls, DialpadError> {
        let mut request = ApiRequest::get(Endpoint::Calls, "call")
            .with("started_after", since.timestamp_millis())
            .with("started_before", until.timestamp_millis())
            .in_background();
        if let Some(cursor) = cursor {
            request = request.with("cursor", cursor);
        }
        let mut page = self.send(app, &request).await?;
        let items = match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let calls = items.into_iter().filter_map(|item| match item {
            Value::Object(call) => Some(call),
            _ => None,
        });
        Ok(ConcludedCalls { calls: calls.collect(), cursor: next_cursor(&page, cursor) })
    }

    /// Places a call: the user's telephones ring, then the other side's. Never retried.
    ///
    /// # Errors
    /// See [`DialpadError`]. After some of them the call may be placed all the same: see [`may_have_taken_effect`].
    pub async fn place_call(&self, app: AppId, order: &CallOrder) -> Result<DialpadCallId, DialpadError> {
        let mut body = json!({"user_id": order.dialpad_user_id, "phone_number": order.phone_number});
        if let Some(custom_data) = &order.custom_data {
            body["custom_data"] = custom_data.as_str().into();
        }
        let request = ApiRequest::new(Endpoint::PlaceCall, Method::POST, "call").with_body(body);
        let reply = self.send(app, &request).await?;
        reply.get("call_id").and_then(id).map(DialpadCallId).ok_or(DialpadError::InvalidResponse)
    }
}

/// Returns the cursor of the page after this one. A page that repeats the cursor it was requested with is the last one:
/// the next would be the same again.
pub(crate) fn next_cursor(page: &Value, requested_with: Option<&str>) -> Option<String> {
    let cursor = page.get("cursor").and_then(id_text)?;
    Some(cursor).filter(|cursor| !cursor.is_empty() && Some(cursor.as_str()) != requested_with)
}

/// Returns what was spoken. The other lines of a transcript, such as `moment`, only name a topic.
fn spoken_lines(transcript: &Value) -> Option<String> {
    let lines = transcript.get("lines")?.as_array()?.iter();
    let spoken = lines.filter(|line| line.get("type").and_then(Value::as_str) == Some("transcript"));
    let texts: Vec<&str> = spoken.filter_map(|line| line.get("content")?.as_str()).map(str::trim).collect();
    Some(texts.join("\n")).filter(|text| !text.trim().is_empty())
}

/// Returns whether a request that failed like this may have taken effect at Dialpad.
#[must_use]
pub fn may_have_taken_effect(error: &DialpadError) -> bool {
    match error {
        DialpadError::Unreachable(reason) => reason != NEVER_CONNECTED,
        DialpadError::Refused(status) => status.is_server_error(),
        DialpadError::InvalidResponse => true,
        DialpadError::RateLimited { .. } | DialpadError::CircuitOpen { .. } | DialpadError::NoAccess(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spoken_lines_count() {
        let transcript = json!({"call_id": "1", "lines": [
            {"type": "transcript", "content": "Hi, this is John.", "name": "John", "time": "2024-01-01T12:00:31"},
            {"type": "moment", "content": "price_inquiry"},
            {"type": "transcript", "content": " Please call me back. "},
            {"type": "ai_question", "content": "What about it?"},
        ]});
        assert_eq!(spoken_lines(&transcript).as_deref(), Some("Hi, this is John.\nPlease call me back."));
        for nothing in [
            json!({"call_id": "1"}),
            json!({"lines": []}),
            json!({"lines": [{"type": "moment"}]}),
            json!(null),
        ] {
            assert_eq!(spoken_lines(&nothing), None, "{nothing}");
        }
    }
}
