//! Words of which there may be more one day: each keeps what it does not know.

use std::fmt;

use serde::Deserialize;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(from = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_doc])* $word,)+
            /// One that this version does not know.
            Other(String),
        }

        impl $name {
            /// As the server writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$word,)+
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

words! {
    /// Who called whom.
    Direction {
        /// Somebody called the company.
        Inbound = "inbound",
        /// The company called somebody.
        Outbound = "outbound",
    }
}

words! {
    /// Where a call stands.
    Status {
        /// It is on its way to a person.
        Ringing = "ringing",
        /// A person answered.
        Active = "active",
        /// One side waits.
        Held = "held",
        /// It is over.
        Ended = "ended",
    }
}

words! {
    /// What became of a call.
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

words! {
    /// Which part of a human call this one is.
    Leg {
        /// That of a main line, a department or a call centre.
        Group = "group",
        /// That of a person whom a group rang.
        User = "user",
        /// The only one.
        Direct = "direct",
    }
}
