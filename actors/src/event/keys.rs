//! What filters and consumers ask of an event beyond its type and its Dialpad user.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    id::{DialpadCallId, InteractionId, MessageId},
    model::call::Direction,
};

/// What filters and consumers ask of an event. The default is that of an event about neither call nor message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EventKeys {
    pub(crate) direction: Option<Direction>,
    /// The caller or sender.
    pub(crate) from_number: Option<Box<str>>,
    /// The called number or the recipients, separated by commas.
    pub(crate) to_number: Option<Box<str>>,
    pub(crate) crm_user_id: Option<Box<str>>,
    /// The same for all events that have to be processed in order: those of a call, or of a message; otherwise 0.
    pub(crate) partition_key: u64,
}

#[derive(Deserialize)]
struct KeyFields<'a> {
    #[serde(borrow, default)]
    direction: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    from_number: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    to_number: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    crm_user_id: Option<Cow<'a, str>>,
    #[serde(default)]
    dialpad_call_id: Option<DialpadCallId>,
    #[serde(borrow, default)]
    message_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    interaction_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    external_number: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    answered_by_crm_user_id: Option<Cow<'a, str>>,
}

impl EventKeys {
    /// Reads the keys of a stored event or call from its JSON. A text that is none has the default keys.
    pub(crate) fn read(text: &str) -> Self {
        let Ok(fields) = serde_json::from_str::<KeyFields<'_>>(text) else { return Self::default() };
        let boxed = |text: Option<Cow<'_, str>>| text.map(|text| text.into_owned().into_boxed_str());
        let interaction_id = fields.interaction_id.as_deref().and_then(|id| id.parse().ok());
        if let (None, None, Some(interaction)) = (fields.dialpad_call_id, &fields.message_id, interaction_id)
        {
            return Self::of_interaction(
                interaction,
                fields.direction.and_then(|direction| direction.parse().ok()),
                fields.external_number.as_deref(),
                fields.answered_by_crm_user_id.as_deref(),
            );
        }
        let message_id = fields.message_id.and_then(|id| id.parse::<Uuid>().ok()).map(MessageId);
        let partition_key = match (fields.dialpad_call_id, message_id) {
            (Some(call), _) => Self::partition_of_call(call),
            (None, Some(message)) => Self::partition_of_message(message),
            (None, None) => 0,
        };
        Self {
            direction: fields.direction.and_then(|direction| direction.parse().ok()),
            from_number: boxed(fields.from_number),
            to_number: boxed(fields.to_number),
            crm_user_id: boxed(fields.crm_user_id),
            partition_key,
        }
    }

    /// Returns the keys of an interaction: its outside number is on the side where a leg would have it.
    pub(super) fn of_interaction(
        interaction: InteractionId,
        direction: Option<Direction>,
        external_number: Option<&str>,
        crm_user_id: Option<&str>,
    ) -> Self {
        let external = external_number.map(Into::into);
        let (from_number, to_number) = match direction {
            Some(Direction::Outbound) => (None, external),
            Some(Direction::Inbound) | None => (external, None),
        };
        let partition_key = interaction.0.as_u64_pair().1;
        Self { direction, from_number, to_number, crm_user_id: crm_user_id.map(Into::into), partition_key }
    }

    pub(super) fn partition_of_call(call: DialpadCallId) -> u64 {
        call.0.cast_unsigned()
    }

    /// Returns the random half of the id.
    pub(super) fn partition_of_message(message: MessageId) -> u64 {
        message.0.as_u64_pair().1
    }
}

/// The [`EventKeys`] of a frame, shared by its copies.
///
/// A fresh event brings them along. Those of a stored one are read from its text when they are first asked for: most
/// readers have no filter.
#[derive(Clone, Debug, Default)]
pub(super) struct LazyKeys(Arc<OnceLock<EventKeys>>);

impl LazyKeys {
    pub(super) fn get_or_read(&self, text: &str) -> &EventKeys {
        self.0.get_or_init(|| EventKeys::read(text))
    }
}

impl From<EventKeys> for LazyKeys {
    fn from(keys: EventKeys) -> Self {
        Self(Arc::new(OnceLock::from(keys)))
    }
}

/// Always equal: the keys add nothing to the text of a frame.
impl PartialEq for LazyKeys {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LazyKeys {}
