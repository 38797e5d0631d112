//! Outbound calls that Dialpad was asked to place without confirming them: found by what the request carried, because
//! that comes back with every webhook of the call.

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
    model::number::{Region, e164},
};
use serde_json::Value;

use crate::{
    store::{
        Calls,
        db::types::{Id, first_id_at},
        on_db,
    },
    webhook::payload::json,
};

/// Ids begin with the time: webhooks since an instant are at the end of the primary key.
const WEBHOOKS_SINCE: &str =
    "SELECT payload FROM webhook_events WHERE id >= $1 AND app_id = $2 ORDER BY id LIMIT $3";

/// How many webhooks are searched. The first one of a placed call comes within seconds, in which an app gets far fewer.
const MAX_SEARCHED: i64 = 2000;

/// What identifies the call that a request asked for.
#[derive(Clone, Copy, Debug)]
pub struct CallMatch<'a> {
    /// Comes back in webhooks as it was sent.
    pub custom_data: &'a str,
    /// The number that was to be called.
    pub phone_number: &'a str,
}

impl CallMatch<'_> {
    /// Returns the call of a payload, if it is the requested one. A payload without a number matches.
    #[must_use]
    pub fn find_in(&self, payload: &Value) -> Option<DialpadCallId> {
        if payload.get("custom_data")?.as_str()? != self.custom_data {
            return None;
        }
        let number = payload.get("external_number").and_then(Value::as_str);
        let is_another = |number: &str| {
            number != self.phone_number
                && e164(number, Region::default()).as_deref() != Some(self.phone_number)
        };
        if number.is_some_and(is_another) {
            return None;
        }
        let id = payload.get("call_id")?;
        id.as_i64().or_else(|| id.as_str()?.parse().ok()).map(DialpadCallId)
    }
}

impl Calls<'_> {
    /// Finds the call that was requested at this instant, if a webhook of it has come.
    pub async fn find_placed(
        self,
        app: AppId,
        requested_at: DateTime<Utc>,
        wanted: CallMatch<'_>,
    ) -> Result<Option<DialpadCallId>, StoreError> {
        let payloads: Vec<(Vec<u8>,)> = on_db!(self.store, read db => {
            sqlx::query_as(WEBHOOKS_SINCE).bind(first_id_at(requested_at)).bind(Id::from(app)).bind(MAX_SEARCHED)
                .fetch_all(db).await
        })?;
        let found = payloads.iter().find_map(|(payload,)| wanted.find_in(&json::read(payload).ok()?.value));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WANTED: CallMatch<'static> = CallMatch { custom_data: "request 7", phone_number: "+14155551234" };

    #[test]
    fn a_requested_call_is_found_by_what_the_request_carried() {
        let webhook = json!({"call_id": 5, "custom_data": "request 7", "external_number": "+14155551234"});
        assert_eq!(WANTED.find_in(&webhook), Some(DialpadCallId(5)));
        let reply = json!({"call_id": "5", "custom_data": "request 7"});
        assert_eq!(WANTED.find_in(&reply), Some(DialpadCallId(5)));
    }

    #[test]
    fn a_call_to_another_number_or_with_other_data_is_another_call() {
        for webhook in [
            json!({"call_id": 5, "custom_data": "request 8", "external_number": "+14155551234"}),
            json!({"call_id": 5, "custom_data": "request 7", "external_number": "+14155551235"}),
            json!({"call_id": 5, "custom_data": null}),
            json!({"call_id": "x", "custom_data": "request 7"}),
            json!([]),
        ] {
            assert_eq!(WANTED.find_in(&webhook), None, "{webhook}");
        }
    }
}
