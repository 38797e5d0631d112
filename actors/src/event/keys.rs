//! Whom and what an event is about, as its text says. Read when somebody asks for it, once for all who do: most events
//! are told to readers who want everything, and so are not read again.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use serde::Deserialize;
use uuid::Uuid;

/// What can be asked of an event beyond its type and its Dialpad user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EventKeys {
    /// `inbound` or `outbound`.
    pub(crate) direction: Option<Box<str>>,
    /// Who calls or writes.
    pub(crate) from_number: Option<Box<str>>,
    /// Who is called or written to; of a message, several with commas between.
    pub(crate) to_number: Option<Box<str>>,
    /// The user of the CRM.
    pub(crate) crm_user_id: Option<Box<str>>,
    /// Stands for the call or the message whose events must be dealt with in order; 0 where it is about neither.
    pub(crate) thread: u64,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow, default)]
    direction: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    from_number: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    to_number: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    crm_user_id: Option<Cow<'a, str>>,
    #[serde(default)]
    dialpad_call_id: Option<i64>,
    #[serde(borrow, default)]
    message_id: Option<Cow<'a, str>>,
}

impl EventKeys {
    pub(crate) fn read(text: &str) -> Self {
        let Ok(text) = serde_json::from_str::<Text<'_>>(text) else { return Self::default() };
        let message = text.message_id.as_ref().and_then(|id| id.parse::<Uuid>().ok());
        let message = message.map(|id| id.as_u64_pair().1);
        let boxed = |text: Option<Cow<'_, str>>| text.map(|text| text.into_owned().into_boxed_str());
        Self {
            direction: boxed(text.direction),
            from_number: boxed(text.from_number),
            to_number: boxed(text.to_number),
            crm_user_id: boxed(text.crm_user_id),
            thread: text.dialpad_call_id.map_or(message.unwrap_or_default(), i64::cast_unsigned),
        }
    }
}

/// An event's [`EventKeys`], shared by all copies of its frame. Two of them are always equal: they add nothing to the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct LazyKeys(Arc<OnceLock<EventKeys>>);

impl LazyKeys {
    pub(crate) fn of(&self, text: &str) -> &EventKeys {
        self.0.get_or_init(|| EventKeys::read(text))
    }
}

impl PartialEq for LazyKeys {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LazyKeys {}
