//! What the server needs to be allowed at Dialpad.

/// Each scope that something here does not work without.
pub const NEEDED: [&str; 4] = [
    // Calls of the past, to close gaps.
    "calls:list",
    // Audio.
    "recordings_export",
    TEXTS,
    // Tokens that can be renewed.
    "offline_access",
];

/// The texts of messages: a subscription for the whole company needs the wide form.
pub const TEXTS: &str = "message_content_export:all";

/// The needed scopes that are not among these (with spaces between).
#[must_use]
pub fn missing(granted: &str) -> Vec<&'static str> {
    NEEDED.into_iter().filter(|needed| granted.split_whitespace().all(|scope| scope != *needed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing("calls:list recordings_export offline_access"), [TEXTS]);
        assert_eq!(missing(&NEEDED.join("  ")), Vec::<&str>::new());
        assert_eq!(missing(""), NEEDED);
        assert_eq!(missing("calls:listed message_content_export").len(), NEEDED.len());
    }
}
