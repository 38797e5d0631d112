//! What a reader of the feed may ask for, on every transport.
//!
//! These structs give the parameters their names and their documentation. Their values stay text: `Subscription::read`
//! parses and checks them, for a query as for the first message of a WebSocket.

use cti_actors::{
    consumer::Mode, event::EventType, feed::Position, model::call::Direction, session::Subscription,
};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use strum::VariantArray;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use crate::http::{
    error::ApiError,
    extract::{
        ids::IdFormat,
        query::parameters,
        values::{AnyWholeNumber, WholeNumberOr, parse_text},
    },
    openapi::examples,
};

/// How many events a page has: by default 100, at most 1000.
pub(crate) type EventLimit = WholeNumberOr<100, 1, 1000>;
/// For how many seconds a request may wait. Proxies keep a request this long.
pub(crate) type Wait = WholeNumberOr<0, 0, 60>;

/// Event types, separated by commas.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct EventTypes(String);

impl PartialSchema for EventTypes {
    fn schema() -> RefOr<Schema> {
        let all = EventType::VARIANTS.iter();
        let names = all.clone().map(|event_type| event_type.as_str().replace('.', "\\."));
        let mut families: Vec<String> =
            all.map(|event_type| format!("{}\\.\\*", event_type.family())).collect();
        families.dedup();
        let known: Vec<String> = names.chain(families).chain(["\\*".to_owned()]).collect();
        let one = known.join("|");
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^({one})(,({one}))*$")))
            .examples([json!("call.*,voicemail.received")])
            .into()
    }
}

impl ToSchema for EventTypes {}

/// A position in the feed: `SEQ`, or `EPOCH:SEQ`.
#[derive(Debug)]
pub(crate) struct FeedPosition(pub(crate) Position);

impl<'de> Deserialize<'de> for FeedPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_text(deserializer, "a whole number, 0 or more, or EPOCH:SEQ", |text| text.parse().ok())
            .map(Self)
    }
}

impl PartialSchema for FeedPosition {
    fn schema() -> RefOr<Schema> {
        let hex = |digits| format!("[0-9A-Fa-f]{{{digits}}}");
        let epoch = [8, 4, 4, 4, 12].map(hex).join("-");
        ObjectBuilder::new()
            .schema_type(Type::String)
            // As many digits as every 64-bit number may have.
            .pattern(Some(format!("^({epoch}:)?[0-9]{{1,18}}$")))
            .examples([json!("42"), json!(format!("{}:42", examples::EPOCH))])
            .into()
    }
}

impl ToSchema for FeedPosition {}

/// The name of a consumer.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct ConsumerName(pub(crate) String);

impl PartialSchema for ConsumerName {
    fn schema() -> RefOr<Schema> {
        let pattern = "^[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,99}$";
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into()
    }
}

impl ToSchema for ConsumerName {}

/// Which events, and for whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Reader {
    /// Only events of these types, separated by commas. `call.*` matches every type that begins with `call.`.
    #[param(inline)]
    types: Option<EventTypes>,
    /// Only events of this Dialpad user.
    #[param(value_type = Option<AnyWholeNumber>, inline)]
    dialpad_user_id: Option<String>,
    /// Only events of this user of the CRM.
    #[param(min_length = 1, max_length = 255)]
    crm_user_id: Option<String>,
    /// Only events of calls and messages in this direction.
    #[param(value_type = Option<Direction>, inline)]
    direction: Option<String>,
    /// Only events with this number on either side, in any spelling.
    #[param(min_length = 1, max_length = 255)]
    number: Option<String>,
    /// Only events from this number, in any spelling.
    #[param(min_length = 1, max_length = 255)]
    from: Option<String>,
    /// Only events to this number, in any spelling; for a message with several recipients, to one of them.
    #[param(min_length = 1, max_length = 255)]
    to: Option<String>,
    /// `string` writes Dialpad's ids as strings, for languages whose numbers are exact only up to 2^53.
    #[serde(default)]
    #[param(value_type = Option<IdFormat>, inline)]
    ids: Option<String>,
    /// Read as this named consumer, whose cursor the server stores. `after` then says where a new one begins.
    #[param(inline)]
    consumer: Option<ConsumerName>,
    /// How the consumer's connections divide its events: the newest connection takes over, or all of them share the
    /// work.
    #[param(value_type = Option<Mode>, inline)]
    mode: Option<String>,
}

/// Where a page of the feed begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageStart {
    /// Only events after this `seq`. 0 or left out: begin with the oldest event that is kept. `EPOCH:SEQ` is refused with
    /// `EPOCH_CHANGED` if the feed has another epoch.
    #[param(value_type = Option<FeedPosition>, inline)]
    after: Option<String>,
}

/// Where a session begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionStart {
    /// Resume after this `seq`. 0: everything that is kept. Left out: only new events. `EPOCH:SEQ` begins with a `gap` if the
    /// feed has another epoch.
    #[param(value_type = Option<FeedPosition>, inline)]
    after: Option<String>,
}

/// How long a page of the feed is, and how long to wait for it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PollPaging {
    /// The maximum number of events on the page, before they are filtered.
    #[serde(default)]
    #[param(inline)]
    pub(crate) limit: EventLimit,
    /// For how many seconds a response that would be empty waits for the first matching event.
    #[serde(default)]
    #[param(inline)]
    pub(crate) wait: Wait,
}

/// What only a session may ask for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionOptions {
    /// `true`: begin with the active calls. Can't be combined with `after` or `consumer`.
    #[param(value_type = Option<bool>)]
    snapshot: Option<String>,
    /// `true`: a message `watermark` every 5 seconds says that nothing is missing. Can't be combined with `mode=share`.
    #[param(value_type = Option<bool>)]
    watermark: Option<String>,
    /// The app's key. Documented as a security scheme.
    #[param(ignore)]
    api_key: Option<String>,
}

parameters! {
    /// The parameters of a page of the feed.
    pub(crate) struct ListEvents {
        start: PageStart,
        reader: Reader,
        paging: PollPaging,
    }
}

parameters! {
    /// The parameters of a session.
    pub(crate) struct OpenSession {
        start: SessionStart,
        reader: Reader,
        options: SessionOptions,
    }
}

impl ListEvents {
    pub(crate) fn subscription(&self) -> Result<Subscription, ApiError> {
        subscription(&self.reader, self.start.after.as_deref(), None)
    }
}

impl OpenSession {
    pub(crate) fn subscription(&self) -> Result<Subscription, ApiError> {
        subscription(&self.reader, self.start.after.as_deref(), Some(&self.options))
    }

    pub(crate) fn api_key(&self) -> Option<SecretString> {
        self.options.api_key.as_deref().map(SecretString::from)
    }
}

fn subscription(
    reader: &Reader,
    after: Option<&str>,
    options: Option<&SessionOptions>,
) -> Result<Subscription, ApiError> {
    let given = |name| match name {
        "after" => after,
        "snapshot" => options.and_then(|options| options.snapshot.as_deref()),
        "watermark" => options.and_then(|options| options.watermark.as_deref()),
        "types" => reader.types.as_ref().map(|types| &*types.0),
        "dialpad_user_id" => reader.dialpad_user_id.as_deref(),
        "crm_user_id" => reader.crm_user_id.as_deref(),
        "direction" => reader.direction.as_deref(),
        "number" => reader.number.as_deref(),
        "from" => reader.from.as_deref(),
        "to" => reader.to.as_deref(),
        "ids" => reader.ids.as_deref(),
        "consumer" => reader.consumer.as_ref().map(|consumer| &*consumer.0),
        "mode" => reader.mode.as_deref(),
        _ => None,
    };
    Subscription::read(given).map_err(|error| ApiError::invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_parameter_of_a_subscription_can_be_given() {
        let names = |parameters: Vec<utoipa::openapi::path::Parameter>| {
            parameters.into_iter().map(|parameter| parameter.name).collect::<BTreeSet<_>>()
        };
        let known: BTreeSet<String> = Subscription::PARAMETERS
            .into_iter()
            .chain(Subscription::OF_SESSIONS)
            .map(str::to_owned)
            .collect();
        assert_eq!(names(OpenSession::into_params(|| None)), known);
    }
}
