//! What the server needs to be allowed at Dialpad.

/// Each scope that something here does not work without, and what.
const NEEDED: [(&str, &str); 4] = [
    ("calls:list", "calls that were missed can't be looked for"),
    ("recordings_export", "recordings and voicemails can't be heard"),
    (TEXTS, "messages come without their text"),
    ("offline_access", "the connection ends with its first token"),
];

/// The texts of messages: a subscription for the whole company needs the wide form.
pub const TEXTS: &str = "message_content_export:all";

/// The needed scopes that are not among these (with spaces between), each with what does not work.
pub fn missing(granted: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lacks = |needed: &str| granted.split_whitespace().all(|scope| scope != needed);
    NEEDED.into_iter().filter(move |(needed, _)| lacks(needed))
}

/// Whether a subscription that is made with these scopes tells the texts of messages.
#[must_use]
pub fn may_read(granted: &str) -> bool {
    granted.split_whitespace().any(|scope| scope == TEXTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(granted: &str) -> Vec<&str> {
        missing(granted).map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(names("calls:list recordings_export offline_access"), [TEXTS]);
        assert_eq!(names(&NEEDED.map(|(name, _)| name).join("  ")), Vec::<&str>::new());
        assert_eq!(names("calls:listed message_content_export").len(), NEEDED.len());
        assert_eq!(names("").len(), NEEDED.len());
    }

    #[test]
    fn the_narrow_form_does_not_read_for_the_whole_company() {
        assert!(may_read("calls:list message_content_export:all"));
        assert!(!may_read("calls:list message_content_export"));
    }
}
