//! How a session ends: the close codes that clients see, and the reasons that the metrics count.

use strum::{Display, EnumMessage, IntoStaticStr, VariantArray, VariantNames};

/// The close codes of `/ws` (RFC 6455, 7.4). Other transports send them in `closed`.
///
/// The doc comment of a variant is its meaning in the API documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumMessage, VariantArray)]
#[repr(u16)]
pub enum CloseCode {
    /// The server is stopping, or the database was unavailable; reconnect with your cursor.
    GoingAway = 1001,
    /// A message of the client was too big.
    TooBig = 1009,
    /// A message of the client was not understood.
    BadMessage = 4400,
    /// The key is wrong, or none came in time.
    NotAuthenticated = 4401,
    /// The key was revoked or the app is deactivated; don't reconnect.
    Forbidden = 4403,
    /// The client reads too slowly; reconnect with your cursor.
    TooSlow = 4408,
    /// A newer connection of the same consumer took over, or the consumer was deleted; don't reconnect.
    TakenOver = 4409,
    /// The app has too many sessions or consumers, or too many wrong keys came from one address.
    TooMany = 4429,
}

impl CloseCode {
    /// Returns the number that is sent.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Says what the code means, as the API documents do.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }
}

/// The end of a session, as its client is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// The close code.
    pub code: CloseCode,
    /// A sentence for people.
    pub reason: String,
}

/// Why a WebSocket ended: the label `reason` of `cti_ws_sessions_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum CloseReason {
    /// The client closed it.
    Client,
    /// The connection broke.
    Lost,
    /// The client showed no sign of life for too long.
    Silent,
    /// The client did not keep to the WebSocket protocol (close code 1002).
    #[strum(serialize = "closed")]
    ProtocolError,
    /// See [`CloseCode::GoingAway`].
    GoingAway,
    /// See [`CloseCode::TooBig`].
    TooBig,
    /// See [`CloseCode::BadMessage`].
    BadMessage,
    /// See [`CloseCode::NotAuthenticated`].
    NotAuthenticated,
    /// See [`CloseCode::Forbidden`].
    Forbidden,
    /// See [`CloseCode::TooSlow`].
    TooSlow,
    /// See [`CloseCode::TakenOver`].
    TakenOver,
    /// See [`CloseCode::TooMany`].
    TooMany,
}

impl CloseReason {
    /// Returns the label in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<CloseCode> for CloseReason {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::GoingAway => Self::GoingAway,
            CloseCode::TooBig => Self::TooBig,
            CloseCode::BadMessage => Self::BadMessage,
            CloseCode::NotAuthenticated => Self::NotAuthenticated,
            CloseCode::Forbidden => Self::Forbidden,
            CloseCode::TooSlow => Self::TooSlow,
            CloseCode::TakenOver => Self::TakenOver,
            CloseCode::TooMany => Self::TooMany,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_has_its_meaning_and_its_label() {
        for code in CloseCode::VARIANTS {
            assert!(code.meaning().ends_with('.'), "{code:?} has no meaning");
            assert!(CloseReason::VARIANTS.contains(&CloseReason::from(*code).as_str()), "{code:?}");
        }
        assert_eq!(CloseCode::TakenOver.code(), 4409);
        assert_eq!(CloseReason::from(CloseCode::TakenOver).as_str(), "taken_over");
    }
}
