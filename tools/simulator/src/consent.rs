//! The page on which a person approves or denies a connection.

use super::State;
use super::authorize::AuthorizeRequest;
use super::flows;

const PAGE: &str = include_str!("consent.html");

/// Renders the page for a request; its form posts the request back with the decision.
pub(crate) fn page(state: &State, request: &AuthorizeRequest) -> String {
    let scopes: String = request
        .scope
        .split_whitespace()
        .map(|scope| format!("<li>{}</li>", escape(explained(scope))))
        .collect();
    let scopes = if scopes.is_empty() { "<li>Basic access</li>".to_owned() } else { scopes };
    let fields: String = request
        .fields()
        .iter()
        .map(|(name, value)| format!(r#"<input type="hidden" name="{name}" value="{}">"#, escape(value)))
        .collect();
    let parts = [
        ("{{company_id}}", state.company_id().to_string()),
        ("{{user}}", escape(flows::first_user().name)),
        ("{{scopes}}", scopes),
        ("{{client_id}}", escape(&request.client_id)),
        ("{{redirect_uri}}", escape(&request.redirect_uri)),
        ("{{fields}}", fields),
    ];
    fill(PAGE, &parts)
}

/// Fills a template in one pass, so that values are never searched for placeholders.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(template.len() + 1_024);
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let part = parts.iter().find(|(name, _)| rest.starts_with(name));
        let (name, value) = part.expect("the template names only what is in the list");
        out.push_str(value);
        rest = &rest[name.len()..];
    }
    out + rest
}

fn explained(scope: &str) -> &str {
    match scope {
        "calls:list" => "See the company's calls",
        "recordings_export" => "Download recordings and voicemails",
        "message_content_export" | "message_content_export:all" => "Read text messages",
        "offline_access" => "Stay connected while you are away",
        other => other,
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_neither_markup_nor_template() {
        let filled = fill("<b>{{a}}</b>{{b}}", &[("{{a}}", escape("<{{b}}>")), ("{{b}}", "x".to_owned())]);
        assert_eq!(filled, "<b>&lt;{{b}}&gt;</b>x");
    }
}
