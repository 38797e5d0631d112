//! A reply with tokens, however odd the rest of it. By the time that we read it the old refresh token may be spent, so
//! a reply is not given up for a field that can be done without.

use serde_json::Value;

/// How long a token is taken to live where Dialpad does not say, in seconds.
const DEFAULT_LIFETIME: u64 = 3600;
/// Longer lives make no difference: a token is renewed every day.
const LONGEST_LIFETIME: u64 = 366 * 24 * 3600;

/// The reply as the standard has it; `None` when there is no access token in it.
pub(crate) fn put_right(body: &[u8]) -> Option<Value> {
    let Ok(Value::Object(mut reply)) = serde_json::from_slice(body) else { return None };
    let is_text = |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !is_text(reply.get("access_token")) {
        return None;
    }
    let lifetime = lifetime(reply.get("expires_in"));
    reply.insert("expires_in".into(), lifetime.into());
    for name in ["refresh_token", "scope"] {
        if !is_text(reply.get(name)) {
            reply.remove(name);
        }
    }
    if !is_text(reply.get("token_type")) {
        reply.insert("token_type".into(), "bearer".into());
    }
    Some(Value::Object(reply))
}

/// The seconds for which a token lives: a whole number, a fraction, or a text with either; else the default.
fn lifetime(said: Option<&Value>) -> u64 {
    let seconds = match said {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
        Some(seconds) if seconds >= 1.0 => seconds.min(LONGEST_LIFETIME as f64) as u64,
        _ => DEFAULT_LIFETIME,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put_right(reply: Value) -> Value {
        super::put_right(reply.to_string().as_bytes()).expect("a reply with a token")
    }

    #[test]
    fn whatever_the_lifetime_the_tokens_are_kept() {
        for (said, understood) in [
            (json!(1800), 1800),
            (json!("1800"), 1800),
            (json!(" 1800.9 "), 1800),
            (json!(0), 3600),
            (json!(0.5), 3600),
            (json!(-1), 3600),
            (json!(null), 3600),
            (json!("soon"), 3600),
            (json!({"seconds": 5}), 3600),
            (json!("NaN"), 3600),
            (json!(1e300), 31_622_400),
            (json!(u64::MAX), 31_622_400),
            (json!("inf"), 31_622_400),
        ] {
            let reply = put_right(json!({"access_token": "a", "expires_in": said}));
            assert_eq!(reply["expires_in"], understood, "{said}");
        }
        assert_eq!(put_right(json!({"access_token": "a"}))["expires_in"], 3600);
    }

    #[test]
    fn what_can_be_done_without_is_done_without() {
        let reply = put_right(json!({"access_token": "a", "refresh_token": "", "scope": ["x"]}));
        assert_eq!(reply, json!({"access_token": "a", "token_type": "bearer", "expires_in": 3600}));
        let whole = json!({"access_token": "a", "token_type": "Bearer", "expires_in": 5, "refresh_token": "r", "company_id": 7});
        assert_eq!(put_right(whole.clone()), whole);
    }

    #[test]
    fn without_an_access_token_it_is_nonsense() {
        for body in ["", "<html>", "[]", "{}", r#"{"access_token":""}"#, r#"{"access_token":5}"#] {
            assert_eq!(super::put_right(body.as_bytes()), None, "{body}");
        }
    }
}
