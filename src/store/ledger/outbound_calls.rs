//! Calls that Dialpad was asked to place and did not say that it has: found by what the order carried, because that
//! comes back with every webhook of the call.

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
};
use serde_json::Value;

use crate::store::{
    Calls,
    db::types::{Id, first_id_at},
    on_db,
};

/// Ids begin with the time: what came since an instant is at the end of the primary key.
const WEBHOOKS_SINCE: &str =
    "SELECT payload FROM webhook_events WHERE id >= $1 AND app_id = $2 ORDER BY id LIMIT $3";

/// The first webhook of a placed call comes within seconds; an app has far fewer than so many in that time.
const LOOKED_THROUGH: i64 = 2000;

/// What an order carried.
#[derive(Clone, Copy, Debug)]
pub struct OrderMarks<'a> {
    /// Comes back as it was given.
    pub custom_data: &'a str,
    /// Who was to be called.
    pub phone_number: &'a str,
}

impl OrderMarks<'_> {
    /// The call that a payload tells of, if it is the one that was ordered. A payload without a number may be.
    #[must_use]
    pub fn find_in(&self, payload: &Value) -> Option<DialpadCallId> {
        if payload.get("custom_data")?.as_str()? != self.custom_data {
            return None;
        }
        let number = payload.get("external_number").and_then(Value::as_str);
        if number.is_some_and(|number| number != self.phone_number) {
            return None;
        }
        let id = payload.get("call_id")?;
        id.as_i64().or_else(|| id.as_str()?.parse().ok()).map(DialpadCallId)
    }
}

impl Calls<'_> {
    /// The call of an order that was given at this instant, if a webhook has told of it.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find_placed(
        self,
        app: AppId,
        ordered_at: DateTime<Utc>,
        marks: OrderMarks<'_>,
    ) -> Result<Option<DialpadCallId>, StoreError> {
        let payloads: Vec<(Vec<u8>,)> = on_db!(self.store, read db => {
            sqlx::query_as(WEBHOOKS_SINCE).bind(first_id_at(ordered_at)).bind(Id::from(app)).bind(LOOKED_THROUGH)
                .fetch_all(db).await
        })?;
        let found =
            payloads.iter().find_map(|(payload,)| marks.find_in(&serde_json::from_slice(payload).ok()?));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MARKS: OrderMarks<'static> = OrderMarks { custom_data: "order 7", phone_number: "+14155551234" };

    #[test]
    fn an_ordered_call_is_known_by_what_the_order_carried() {
        let webhook = json!({"call_id": 5, "custom_data": "order 7", "external_number": "+14155551234"});
        assert_eq!(MARKS.find_in(&webhook), Some(DialpadCallId(5)));
        let reply = json!({"call_id": "5", "custom_data": "order 7"});
        assert_eq!(MARKS.find_in(&reply), Some(DialpadCallId(5)));
    }

    #[test]
    fn a_call_to_another_number_or_with_other_data_is_another_call() {
        for webhook in [
            json!({"call_id": 5, "custom_data": "order 8", "external_number": "+14155551234"}),
            json!({"call_id": 5, "custom_data": "order 7", "external_number": "+14155551235"}),
            json!({"call_id": 5, "custom_data": null}),
            json!({"call_id": "x", "custom_data": "order 7"}),
            json!([]),
        ] {
            assert_eq!(MARKS.find_in(&webhook), None, "{webhook}");
        }
    }
}
