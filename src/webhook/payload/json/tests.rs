use serde_json::json;

use super::*;

fn lenient(bytes: &[u8]) -> (Value, String) {
    let json = read(bytes).unwrap_or_else(|problem| panic!("{}: {problem}", String::from_utf8_lossy(bytes)));
    (json.value, json.unreadable.expect("something unreadable"))
}

#[test]
fn valid_json_is_read_as_it_is() {
    let json = read(br#" {"a":"\ud83d\ude00\u0000","b":[1e3,-0.5,true,null]} "#).expect("valid");
    assert_eq!(json.value, json!({"a": "\u{1f600}\0", "b": [1000.0, -0.5, true, null]}));
    assert_eq!(json.unreadable, None);
}

#[test]
fn an_unreadable_spot_is_replaced_and_the_rest_is_read() {
    for (bytes, expected) in [
        (&br#"{"a":"x\ud83d","b":1}"#[..], json!({"a": "x\u{fffd}", "b": 1})),
        (br#"{"a":"\ude00x","b":1}"#, json!({"a": "\u{fffd}x", "b": 1})),
        (br#"{"a":"\ud83d\u0041\ud83d\ude00"}"#, json!({"a": "\u{fffd}A\u{1f600}"})),
        (br#"{"a":"\ud83d\ud83d\ude00"}"#, json!({"a": "\u{fffd}\u{1f600}"})),
        (br#"{"a":"\u12","b":1}"#, json!({"a": "\u{fffd}12", "b": 1})),
        (br#"{"\ud83d":1}"#, json!({"\u{fffd}": 1})),
        (br#"{"a":"C:\dir"}"#, json!({"a": "C:\u{fffd}dir"})),
        (b"{\"a\":\"caf\xe9\",\"b\":1}", json!({"a": "caf\u{fffd}", "b": 1})),
        (b"{\"a\":\"\xf0\x9f\x98\",\"b\":1}", json!({"a": "\u{fffd}", "b": 1})),
        (b"{\"a\":\"\xed\xa0\xbd\"}", json!({"a": "\u{fffd}\u{fffd}\u{fffd}"})),
        (b"{\"a\":\"x\ny\0z\"}", json!({"a": "x\nyz"})),
        (b"\xef\xbb\xbf{\"a\":1}", json!({"a": 1})),
        (b"{\"a\":1}\0\0", json!({"a": 1})),
        (b"{\"a\":\0 1,\xff\"b\":2}", json!({"a": 1, "b": 2})),
        (b"{\"a\":1} tail", json!({"a": 1})),
        (br#"{"a":NaN,"b":-Infinity,"c":Infinity,"d":1}"#, json!({"a": null, "b": null, "c": null, "d": 1})),
        (br#"{"a":1e999,"b":-1e400,"c":1}"#, json!({"a": null, "b": null, "c": 1})),
        (
            br#"{"a":007,"b":+14155550123,"c":.5,"d":5.,"e":+1e2}"#,
            json!({"a": "007", "b": "+14155550123", "c": ".5", "d": "5.", "e": 100.0}),
        ),
        (br#"{"a":0x1F,"b":1_000,"c":1}"#, json!({"a": null, "b": null, "c": 1})),
        (
            br#"{"a":True,"b":None,"c":undefined,"d":nul}"#,
            json!({"a": true, "b": null, "c": null, "d": null}),
        ),
        (br#"{"a":[1,2,],"b":1,}"#, json!({"a": [1, 2], "b": 1})),
        (br#"{"a":,"b":[1,,2]}"#, json!({"a": null, "b": [1, null, 2]})),
    ] {
        let (value, _) = lenient(bytes);
        assert_eq!(value, expected, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn what_was_left_out_is_named_with_its_place() {
    let (_, reason) =
        lenient(br#"{"contact":{"name":"x\ud83d"},"mos_score":NaN,"a":[1e999,1e999],"b":1e999}"#);
    assert_eq!(
        reason,
        "read without what is not valid JSON: half a character in contact.name, a number that JSON does not have in \
         mos_score, a number that JSON does not have in a, and 1 more"
    );
}

#[test]
fn what_is_nested_too_deep_is_left_out() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!(r#"{{"deep":{}"]"{},"b":1}}"#, open.repeat(5000), close.repeat(5000));
        let (value, _) = lenient(deep.as_bytes());
        assert_eq!(value["b"], 1);
    }
}

#[test]
fn what_ends_too_early_or_is_no_json_stays_an_error() {
    for bytes in [
        &b""[..],
        b"\xff\xfe",
        b"{",
        br#"{"a":"#,
        br#"{"a":1"#,
        br#"{"a":1,"#,
        br#"{"a":"x"#,
        br#"{"a":"x\"#,
        br#"{"a":"\u12"#,
        br#"{"a":[1"#,
        br#"{'a':1}"#,
        br#"{a:1}"#,
        br#"{"a" 1}"#,
        br#"{"a":1 "b":2}"#,
    ] {
        assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
}
