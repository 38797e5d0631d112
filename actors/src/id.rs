//! Ids. Our own are UUIDs (v7, so that they sort by time) and never strings inside the engine; Dialpad's are 64-bit
//! integers with types of their own.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[derive(ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Returns a new id. Ids of one process sort in the order in which they were generated.
            #[must_use]
            pub fn generate() -> Self {
                Self(crate::clock::new_uuid())
            }

            /// Returns when it was generated.
            #[must_use]
            pub fn generated_at(self) -> Option<DateTime<Utc>> {
                let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
                DateTime::from_timestamp(seconds.try_into().ok()?, nanoseconds)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// A tenant: one CRM backend, connected to one Dialpad organisation.
    AppId
);

impl AppId {
    /// The hidden app of the server's own webhooks. It has no clients, and is counted in no metric of theirs.
    pub const CANARY: Self = Self(Uuid::from_u128(0x8000_8000_6361_6e61_7279));
}

uuid_id!(
    /// Our id of a call leg.
    CallId
);
uuid_id!(
    /// One human call with all its legs. It is the id of the leg that was seen first.
    InteractionId
);
uuid_id!(
    /// Our id of a voicemail.
    VoicemailId
);
uuid_id!(
    /// Our id of a text message.
    MessageId
);
uuid_id!(
    /// An event in the feed.
    EventId
);
uuid_id!(
    /// A webhook in the journal. Those that are pending sort in the order in which they were appended.
    JournalId
);
uuid_id!(
    /// An API key (never the key itself).
    KeyId
);
uuid_id!(
    /// One history of the feeds of a database. When it is restored, another one begins: the same `seq` may then be another
    /// event.
    Epoch
);
uuid_id!(
    /// One open WebSocket.
    SessionId
);

impl Default for Epoch {
    /// Returns the epoch of a store in memory, which is never restored.
    fn default() -> Self {
        Self(Uuid::nil())
    }
}

/// The number of one ownership of an app: it grows each time that the app gets another owner. What an earlier owner writes
/// is refused by it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct Fence(pub i64);

impl Fence {
    /// Nothing is checked: there can be no other owner.
    pub const UNCHECKED: Fence = Fence(0);
}

impl From<CallId> for InteractionId {
    /// Returns the interaction that begins with this leg.
    fn from(call: CallId) -> Self {
        Self(call.0)
    }
}

/// Dialpad's id of a call leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DialpadCallId(pub i64);

impl fmt::Display for DialpadCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an event in its app's feed: 1, 2, 3 … without holes. As a cursor it means that everything up to and
/// including this event is processed; 0 is the beginning.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct Seq(pub i64);

impl Seq {
    /// The cursor before the first event.
    pub const START: Seq = Seq(0);

    /// Returns the next place.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
