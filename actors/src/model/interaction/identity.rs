//! Whether two numbers are of the same person. Pure.

/// Words that Dialpad and carriers put in place of a withheld number, typed on a telephone's keys: ANONYMOUS, RESTRICTED,
/// BLOCKED, UNKNOWN (in both spellings that carriers use), UNAVAILABLE and PRIVATE.
const WITHHELD: [&str; 7] =
    ["266696687", "7378742833", "2562533", "8656696", "8566696", "86282452253", "7748283"];
/// How many digits a number has at least that identifies somebody: internal extensions are that short.
const MIN_DIGITS: usize = 3;

/// What the outside numbers of two legs say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It is the same person.
    Same,
    /// They are different.
    Different,
    /// One of them identifies nobody.
    Unknown,
}

/// Compares the outside numbers of two legs.
pub(crate) fn compare(one: Option<&str>, other: Option<&str>) -> Identity {
    match (one.and_then(identifying), other.and_then(identifying)) {
        (Some(one), Some(other)) if one == other => Identity::Same,
        (Some(_), Some(_)) => Identity::Different,
        _ => Identity::Unknown,
    }
}

/// Returns the number in one spelling, unless it is withheld, empty or a word: that identifies nobody. A number with a
/// leading plus is compared by its digits, anything else literally.
pub(crate) fn identifying(number: &str) -> Option<String> {
    let number = number.trim();
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let is_withheld = digits.len() < MIN_DIGITS
        || digits.chars().all(|digit| digit == '0')
        || WITHHELD.contains(&digits.as_str());
    if is_withheld && !number.contains('@') {
        return None;
    }
    let is_spelled = number.chars().all(|it| it.is_ascii_digit() || "+ ()-./\u{a0}".contains(it));
    Some(if number.starts_with('+') && is_spelled { format!("+{digits}") } else { number.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_in_every_spelling_that_begins_with_a_plus() {
        let same = |one, other| compare(Some(one), Some(other)) == Identity::Same;
        assert!(same("+14155550129", "+1 (415) 555-0129") && same("4155550129", " 4155550129"));
        assert!(!same("+14155550129", "14155550129") && !same("+14155550129", "+14155550128"));
        assert!(same("alice@example.com", "alice@example.com"));
    }

    #[test]
    fn a_withheld_number_identifies_nobody() {
        let withheld =
            ["", " ", "anonymous", "Restricted", "blocked", "+266696687", "unknown", "+", "0000", "-1"];
        for number in withheld {
            assert_eq!(compare(Some(number), Some(number)), Identity::Unknown, "{number:?}");
            assert_eq!(compare(Some(number), Some("+14155550129")), Identity::Unknown, "{number:?}");
        }
        assert_eq!(compare(None, Some("+14155550129")), Identity::Unknown);
    }
}
