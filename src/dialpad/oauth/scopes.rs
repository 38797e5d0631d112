//! The OAuth scopes that the server needs.

/// Each needed scope, and what does not work without it.
const NEEDED: [(&str, &str); 4] = [
    ("calls:list", "missed calls can't be recovered"),
    ("recordings_export", "recordings and voicemails can't be played"),
    (MESSAGE_TEXTS, "messages arrive without text"),
    ("offline_access", "the connection ends when its first token expires"),
];

/// The texts of messages. A subscription for the whole company needs the form with `:all`
/// (<https://developers.dialpad.com/docs/sms-events>).
pub const MESSAGE_TEXTS: &str = "message_content_export:all";

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
    fn the_form_without_all_does_not_cover_the_company() {
        assert!(can_read_texts("calls:list message_content_export:all"));
        assert!(!can_read_texts("calls:list message_content_export"));
    }
}
