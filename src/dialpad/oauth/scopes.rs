//! The OAuth scopes that the server needs.

/// Each needed scope, and what does not work without it.
const NEEDED: [(&str, &str); 4] = [
    ("calls:list", "missed calls can't be recovered"),
    ("recordings_export", "recordings and voicemails can't be played"),
    (MESSAGE_TEXTS, "messages arrive without text"),
    (REFRESH_TOKEN, "the connection ends when its first token expires"),
];

/// A refresh token, and with it a lasting connection.
const REFRESH_TOKEN: &str = "offline_access";

/// The texts of messages. A subscription for the whole company needs the form with `:all`
/// (<https://developers.dialpad.com/docs/sms-events>).
pub const MESSAGE_TEXTS: &str = "message_content_export:all";

/// Returns the granted scopes, separated by spaces: those that the token reply names, else the requested ones (RFC 6749,
/// section 5.1). Whether there is a refresh token decides about its scope, whatever they say.
pub(super) fn granted(mut named: Vec<&str>, has_refresh_token: bool) -> String {
    named.retain(|scope| *scope != REFRESH_TOKEN);
    named.extend(has_refresh_token.then_some(REFRESH_TOKEN));
    named.join(" ")
}

/// Returns the needed scopes that are not among the granted ones (separated by spaces), each with what does not work.
pub fn missing(granted: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lacks = |needed: &str| granted.split_whitespace().all(|scope| scope != needed);
    NEEDED.into_iter().filter(move |(needed, _)| lacks(needed))
}

/// Returns whether a subscription that is created with these scopes delivers the texts of messages.
#[must_use]
pub fn can_read_texts(granted: &str) -> bool {
    granted.split_whitespace().any(|scope| scope == MESSAGE_TEXTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(granted: &str) -> Vec<&str> {
        missing(granted).map(|(name, _)| name).collect()
    }

    #[test]
    fn missing_scopes_are_named() {
        assert_eq!(names("calls:list recordings_export offline_access"), [MESSAGE_TEXTS]);
        assert_eq!(names(&NEEDED.map(|(name, _)| name).join("  ")), Vec::<&str>::new());
        assert_eq!(names("calls:listed message_content_export").len(), NEEDED.len());
        assert_eq!(names("").len(), NEEDED.len());
    }

    #[test]
    fn a_refresh_token_proves_its_scope() {
        assert_eq!(granted(vec!["offline_access", "calls:list"], false), "calls:list");
        assert_eq!(granted(vec!["offline_access", "calls:list"], true), "calls:list offline_access");
        assert_eq!(granted(vec!["calls:list"], true), "calls:list offline_access");
        assert_eq!(granted(vec![], false), "");
    }

    #[test]
    fn the_form_without_all_does_not_cover_the_company() {
        assert!(can_read_texts("calls:list message_content_export:all"));
        assert!(!can_read_texts("calls:list message_content_export"));
    }
}
