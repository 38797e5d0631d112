//! Enums that keep values which this version does not know.

use std::fmt;

use serde::Deserialize;

macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(from = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A value that this version does not know.
            Other(String),
        }

        impl $name {
            /// Returns the value as the server writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

open_enum! {
    /// The direction of a call or message, from the company's viewpoint.
    Direction {
        /// To the company.
        Inbound = "inbound",
        /// From the company.
        Outbound = "outbound",
    }
}

open_enum! {
    /// The status of a call.
    Status {
        /// It is on its way to a person.
        Ringing = "ringing",
        /// A person answered.
        Active = "active",
        /// The call is on hold.
        Held = "held",
        /// The call ended.
        Ended = "ended",
    }
}

open_enum! {
    /// The outcome of a call.
    Outcome {
        /// A person answered.
        Answered = "answered",
        /// Nobody answered.
        Missed = "missed",
        /// The caller left a voicemail.
        Voicemail = "voicemail",
        /// It was blocked or declined.
        Rejected = "rejected",
        /// An outbound call that nobody answered, or the caller left a menu or a queue.
        Abandoned = "abandoned",
    }
}

open_enum! {
    /// The kind of leg that a call is.
    Leg {
        /// The leg of a main line, a department or a call center.
        Group = "group",
        /// The leg of a person whom a group rang.
        User = "user",
        /// The only leg.
        Direct = "direct",
    }
}
