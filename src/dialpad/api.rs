//! What the server asks of Dialpad for an app, in the words of its own trade.

use chrono::{DateTime, Utc};
use cti_actors::id::{AppId, DialpadCallId};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    client::{
        DialpadClient, DialpadError, NEVER_CONNECTED, id,
        request::{ApiRequest, Endpoint, Urgency},
    },
    oauth::access::AccessBook,
};

/// The way to Dialpad for apps: finds the app's token, asks, and renews a token that Dialpad takes no more. Cheap to
/// clone.
#[derive(Clone)]
pub struct Dialpad {
    /// Asks what it is told to, as whoever it is told.
    pub client: DialpadClient,
    /// Who may ask.
    pub access: AccessBook,
}

/// A page of concluded calls, newest first.
#[derive(Clone, Debug)]
pub struct ConcludedCalls {
    /// The calls as Dialpad shows them.
    pub calls: Vec<Map<String, Value>>,
    /// Where the list goes on.
    pub cursor: Option<String>,
}

/// A call to be placed.
#[derive(Clone, Debug)]
pub struct CallOrder {
    /// Whose telephones ring first.
    pub dialpad_user_id: i64,
    /// Whom to call, E.164.
    pub phone_number: String,
    /// Comes back with every event of the call.
    pub custom_data: Option<String>,
}

impl Dialpad {
    /// Asks Dialpad for an app. A 401 renews the token once and asks once more.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn ask(&self, app: AppId, question: &ApiRequest) -> Result<Value, DialpadError> {
        let access = self.access.of(app).await?;
        match self.client.ask(&access, question).await {
            Err(DialpadError::Refused(StatusCode::UNAUTHORIZED)) => {
                let access = self.access.after_refusal(app, &access).await?;
                self.client.ask(&access, question).await
            }
            answer => answer,
        }
    }

    /// A call as Dialpad shows it; `None` when it knows of none.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn call(
        &self,
        app: AppId,
        call: DialpadCallId,
        urgency: Urgency,
    ) -> Result<Option<Map<String, Value>>, DialpadError> {
        let question = ApiRequest { urgency, ..ApiRequest::get(Endpoint::Call, format!("call/{call}")) };
        match self.ask(app, &question).await {
            Ok(Value::Object(call)) => Ok(Some(call)),
            Ok(_) => Err(DialpadError::InvalidResponse),
            Err(DialpadError::Refused(StatusCode::NOT_FOUND)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was said on a call, line by line; `None` where nothing was written down.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn transcript(
        &self,
        app: AppId,
        call: DialpadCallId,
        urgency: Urgency,
    ) -> Result<Option<String>, DialpadError> {
        let question =
            ApiRequest { urgency, ..ApiRequest::get(Endpoint::Transcript, format!("transcripts/{call}")) };
        match self.ask(app, &question).await {
            Ok(transcript) => Ok(spoken(&transcript)),
            Err(DialpadError::Refused(StatusCode::NOT_FOUND)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of the calls that began in this time and are over.
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
        let question = ApiRequest::get(Endpoint::Calls, "call")
            .with("started_after", since.timestamp_millis())
            .with("started_before", until.timestamp_millis())
            .in_background();
        let question = match cursor {
            Some(cursor) => question.with("cursor", cursor),
            None => question,
        };
        let mut page = self.ask(app, &question).await?;
        let items = match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let calls = items.into_iter().filter_map(|item| match item {
            Value::Object(call) => Some(call),
            _ => None,
        });
        let cursor = page.get("cursor").and_then(Value::as_str).filter(|cursor| !cursor.is_empty());
        Ok(ConcludedCalls { calls: calls.collect(), cursor: cursor.map(str::to_owned) })
    }

    /// Places a call: the user's telephones ring, then the other side's. Asked once, whatever comes of it.
    ///
    /// # Errors
    /// See [`DialpadError`], and [`may_have_been_done`].
    pub async fn place_call(&self, app: AppId, order: &CallOrder) -> Result<DialpadCallId, DialpadError> {
        let mut body = json!({"user_id": order.dialpad_user_id, "phone_number": order.phone_number});
        if let Some(custom_data) = &order.custom_data {
            body["custom_data"] = custom_data.as_str().into();
        }
        let question = ApiRequest::new(Endpoint::PlaceCall, Method::POST, "call").saying(body);
        let reply = self.ask(app, &question).await?;
        reply.get("call_id").and_then(id).map(DialpadCallId).ok_or(DialpadError::InvalidResponse)
    }
}

/// The words of a transcript. Among its lines are others than those, which only name what somebody may look for.
fn spoken(transcript: &Value) -> Option<String> {
    let lines = transcript.get("lines")?.as_array()?.iter();
    let said = lines.filter(|line| line.get("type").and_then(Value::as_str) == Some("transcript"));
    let words: Vec<&str> = said.filter_map(|line| line.get("content")?.as_str()).map(str::trim).collect();
    Some(words.join("\n")).filter(|words| !words.trim().is_empty())
}

/// Whether Dialpad may have done what it was asked, although this is what came of it.
#[must_use]
pub fn may_have_been_done(error: &DialpadError) -> bool {
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
    fn only_the_lines_that_were_spoken_are_words() {
        let transcript = json!({"call_id": "1", "lines": [
            {"type": "transcript", "content": "Hi, this is John.", "name": "John", "time": "2024-01-01T12:00:31"},
            {"type": "moment", "content": "price_inquiry"},
            {"type": "transcript", "content": " Please call me back. "},
            {"type": "ai_question", "content": "What about it?"},
        ]});
        assert_eq!(spoken(&transcript).as_deref(), Some("Hi, this is John.\nPlease call me back."));
        for nothing in [
            json!({"call_id": "1"}),
            json!({"lines": []}),
            json!({"lines": [{"type": "moment"}]}),
            json!(null),
        ] {
            assert_eq!(spoken(&nothing), None, "{nothing}");
        }
    }
}
