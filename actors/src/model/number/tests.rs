use super::*;

fn region(code: &str) -> Region {
    code.parse().expect("a region")
}

#[test]
fn every_spelling_of_a_number_has_one_form() {
    for (code, text, expected) in [
        ("US", "+14155550129", "+14155550129"),
        ("US", "+1 (415) 555-0129", "+14155550129"),
        ("US", "(415) 555-0129", "+14155550129"),
        ("US", "415.555.0129", "+14155550129"),
        ("US", "1-415-555-0129", "+14155550129"),
        ("US", "14155550129", "+14155550129"),
        ("US", "tel:+1-415-555-0129", "+14155550129"),
        ("US", "+1 415 555 0129 ext. 5", "+14155550129"),
        ("US", "\u{202a}+1\u{a0}415\u{2011}555\u{2011}0129\u{202c}", "+14155550129"),
        (
            "US",
            "\u{ff0b}\u{ff11}\u{ff14}\u{ff11}\u{ff15}\u{ff15}\u{ff15}\u{ff15}\u{ff10}\u{ff11}\u{ff12}\u{ff19}",
            "+14155550129",
        ),
        ("US", "011 44 20 7946 0018", "+442079460018"),
        ("US", "+44 (0)20 7946 0018", "+442079460018"),
        ("US", "+4402079460018", "+442079460018"),
        ("US", "+33 1 42 68 53 00", "+33142685300"),
        ("US", "+33 (0)1 42 68 53 00", "+33142685300"),
        ("US", "+49 (0) 30 / 901820", "+4930901820"),
        ("US", "+39 06 69812345", "+390669812345"),
        ("US", "+39 (0)6 69812345", "+390669812345"),
        ("US", "+7 (8) 495 123-45-67", "+74951234567"),
        ("US", "+36 (06) 1 234 5678", "+3612345678"),
        ("US", "+55 (0)11 91234-5678", "+5511912345678"),
        ("US", "+225 07 12 34 56 78", "+2250712345678"),
        ("US", "+34 (0)91 123 45 67", "+34911234567"),
        ("US", "+15550001111", "+15550001111"),
        ("GB", "020 7946 0018", "+442079460018"),
        ("GB", "0044 20 7946 0018", "+442079460018"),
        ("GB", "442079460018", "+442079460018"),
        ("GB", "07911 123456", "+447911123456"),
        ("GB", "00 1 415 555 0129", "+14155550129"),
        ("DE", "030 901820", "+4930901820"),
        ("IT", "06 69812345", "+390669812345"),
        ("RU", "8 (495) 123-45-67", "+74951234567"),
        ("AU", "0011 1 415 555 0129", "+14155550129"),
        ("EG", "\u{660}\u{662} \u{662}\u{663}\u{669}\u{661}\u{662}\u{663}\u{664}\u{665}", "+20223912345"),
    ] {
        assert_eq!(e164(text, region(code)).as_deref(), Some(expected), "{text} in {code}");
        // Also from the cache.
        assert_eq!(e164(text, region(code)).as_deref(), Some(expected), "{text} in {code}");
    }
}

#[test]
fn what_is_no_number_has_no_form() {
    for text in [
        "",
        " ",
        "+",
        "+1",
        "+2",
        "anonymous",
        "Restricted",
        "blocked",
        "DIALPAD",
        "22395",
        "911",
        "+266696687",
        "266696687",
        "+7378742833",
        "020 7946 0018",
        "+1415555",
        "+1234567890123456",
        "+0123456789",
        "++14155550129",
        "+1415555x234y",
        "Sales 415 555 0129",
        "+1 415 555 0129 / +1 415 555 0130",
        "+14155550129,+14155550130",
        "+999123456789",
        "sip:14155550129@example.com",
        "1 800 FLOWERS",
        "555-0129",
        "+44 0 20",
    ] {
        assert_eq!(e164(text, Region::US), None, "{text}");
    }
    let list = e164_list("+14155550129,22395,(415) 555-0130", Region::US);
    assert_eq!(list.as_deref(), Some("+14155550129,+14155550130"));
    assert_eq!(e164_list("22395,DIALPAD", Region::US), None);
}

#[test]
fn a_number_is_called_only_if_nothing_of_it_is_guessed() {
    for (text, expected) in [
        ("+14155551234", "+14155551234"),
        (" +1 (415) 555-1234", "+14155551234"),
        ("+1.415.555.1234", "+14155551234"),
        ("tel:+1-415-555-1234", "+14155551234"),
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("+49 (0)30 901820", "+4930901820"),
        ("+39 06 69812345", "+390669812345"),
        ("+15550001111", "+15550001111"),
    ] {
        assert_eq!(dialable(text).as_deref(), Ok(expected), "{text}");
    }
    use Undialable::{Extension, NoCountryCode, NotANumber, NotInPlan};
    for (text, expected) in [
        ("4155551234", NoCountryCode),
        ("0044 20 7946 0018", NoCountryCode),
        ("(0)20 7946 0018", NoCountryCode),
        ("+14155551234 x5", Extension),
        ("+14155551234;ext=5", Extension),
        ("+14155551234,,5", Extension),
        ("+1415555", NotInPlan),
        ("+1 (0) 415 555", NotInPlan),
        ("+1234567890123456", NotInPlan),
        ("+0123456789", NotInPlan),
        ("+44 20 7946", NotInPlan),
        ("+1 020 7946 0018", NotInPlan),
        ("+1 800 FLOWERS", NotANumber),
        ("+1415555x234y", NotANumber),
        ("+14155551234 or +14155551235", NotANumber),
        ("++14155551234", NotANumber),
        ("+", NotANumber),
        ("", NotANumber),
    ] {
        assert_eq!(dialable(text), Err(expected), "{text}");
    }
}

#[test]
fn a_region_is_an_upper_case_code_with_numbers() {
    for code in ["US", "GB", "DE", "CA", "XK"] {
        assert_eq!(region(code).as_str(), code);
    }
    for code in ["", "us", "U", "USA", "ZZ", "UK", "00", "Ü"] {
        assert_eq!(code.parse::<Region>(), Err(UnknownRegion), "{code}");
    }
}

#[test]
fn a_leading_space_is_an_unescaped_plus() {
    assert_eq!(from_query(" 14155551234"), "+14155551234");
    assert_eq!(from_query(" 44 20 7946 0018"), "+44 20 7946 0018");
    for text in ["+14155551234", "4155551234", " x", "", " "] {
        assert_eq!(from_query(text), text);
    }
}
