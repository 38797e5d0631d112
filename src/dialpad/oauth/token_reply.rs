//! Parsing a token reply. The old refresh token may be spent by now, so a reply is not rejected for a field that is not
//! essential.

use serde_json::Value;

/// In seconds; Dialpad documents no lifetime, and integrations assume an hour.
const DEFAULT_LIFETIME: u64 = 3600;
/// In seconds. A longer lifetime makes no difference: a token is refreshed every day.
const MAX_LIFETIME: u64 = 366 * 24 * 3600;

/// A field that is added: whether the reply has no lifetime that can be read.
pub(super) const LIFETIME_IS_ASSUMED: &str = "lifetime_is_assumed";

/// Returns the reply in the form of RFC 6749, section 5.1; `None` if it has no access token.
pub(crate) fn normalize(body: &[u8]) -> Option<Value> {
    let Ok(Value::Object(mut reply)) = serde_json::from_slice(body) else { return None };
    let is_text = |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !is_text(reply.get("access_token")) {
        return None;
    }
    let lifetime = lifetime(reply.get("expires_in"));
    reply.insert("expires_in".into(), lifetime.unwrap_or(DEFAULT_LIFETIME).into());
    reply.insert(LIFETIME_IS_ASSUMED.into(), lifetime.is_none().into());
    if !is_text(reply.get("refresh_token")) {
        reply.remove("refresh_token");
    }
    match scope(reply.get("scope")) {
        Some(scope) => reply.insert("scope".into(), scope.into()),
        None => reply.remove("scope"),
    };
    if !is_text(reply.get("token_type")) {
        reply.insert("token_type".into(), "bearer".into());
    }
    Some(Value::Object(reply))
}

/// Returns the granted scopes separated by spaces: from a text with spaces or commas, or a list of texts.
fn scope(scope: Option<&Value>) -> Option<String> {
    let text = match scope? {
        Value::String(text) => text.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return None,
    };
    let names: Vec<&str> = text.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()).collect();
    Some(names.join(" ")).filter(|names| !names.is_empty())
}

/// Returns a lifetime in seconds: from a number, or a text with one.
fn lifetime(expires_in: Option<&Value>) -> Option<u64> {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
        Some(seconds) if seconds >= 1.0 => Some(seconds.min(MAX_LIFETIME as f64) as u64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn normalize(reply: Value) -> Value {
        super::normalize(reply.to_string().as_bytes()).expect("a reply with a token")
    }

    #[test]
    fn any_lifetime_is_accepted() {
        for (expires_in, expected) in [
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
            let reply = normalize(json!({"access_token": "a", "expires_in": expires_in}));
            assert_eq!(reply["expires_in"], expected, "{expires_in}");
        }
        assert_eq!(normalize(json!({"access_token": "a"}))["expires_in"], 3600);
    }

    #[test]
    fn fields_that_are_not_essential_are_dropped_or_filled_in() {
        let reply = normalize(json!({"access_token": "a", "refresh_token": "", "scope": 5}));
        let expected = json!({"access_token": "a", "token_type": "bearer", "expires_in": 3600, LIFETIME_IS_ASSUMED: true});
        assert_eq!(reply, expected);
        let mut complete = json!({"access_token": "a", "token_type": "Bearer", "expires_in": 5, "refresh_token": "r",
            "company_id": 7, "scope": "calls:list offline_access"});
        let read = normalize(complete.clone());
        complete[LIFETIME_IS_ASSUMED] = false.into();
        assert_eq!(read, complete);
    }

    #[test]
    fn granted_scopes_are_read_in_every_form() {
        for (scope, expected) in [
            (json!("calls:list offline_access"), json!("calls:list offline_access")),
            (json!("calls:list, offline_access"), json!("calls:list offline_access")),
            (json!(["calls:list", "offline_access"]), json!("calls:list offline_access")),
            (json!(" "), Value::Null),
            (json!([]), Value::Null),
            (json!(null), Value::Null),
        ] {
            assert_eq!(normalize(json!({"access_token": "a", "scope": scope}))["scope"], expected, "{scope}");
        }
    }

    #[test]
    fn a_reply_without_an_access_token_is_invalid() {
        for body in ["", "<html>", "[]", "{}", r#"{"access_token":""}"#, r#"{"access_token":5}"#] {
            assert_eq!(super::normalize(body.as_bytes()), None, "{body}");
        }
    }
}
