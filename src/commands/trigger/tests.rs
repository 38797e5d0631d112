use clap::Parser;

use super::*;
use cti_simulator::flows::Flow;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: TriggerArgs,
}

fn parsed(line: &[&str]) -> Result<TriggerArgs, String> {
    let words = ["trigger", "--secret", "first, second"].iter().chain(line);
    Line::try_parse_from(words).map(|line| line.args).map_err(|error| error.to_string())
}

fn now() -> DateTime<Utc> {
    "2024-01-01T12:00:00Z".parse().expect("a time")
}

fn sent(line: &[&str]) -> Vec<ScheduledWebhook> {
    webhooks(&parsed(line).expect("valid"), "https://dialpad.com", now()).expect("a webhook")
}

#[test]
fn every_event_is_one_webhook_of_either_family_that_happens_now() {
    for single in event::SINGLE_EVENTS {
        for family in ["workflow", "dialpad"] {
            let args = parsed(&[single.name, "--family", family]).expect("valid");
            let webhooks = match webhooks(&args, "https://dialpad.com", now()) {
                Ok(webhooks) => webhooks,
                Err(TriggerError::NotInFamily(Family::Workflow, "voicemail.updated")) => continue,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(webhooks.len(), 1);
            assert!(single.matches(&webhooks[0]), "{webhooks:?}");
            let millis = webhooks[0].payload["event_timestamp"].as_i64();
            let seconds = webhooks[0].payload["timestamp"].as_i64();
            assert_eq!(millis.or(seconds.map(|seconds| seconds * 1_000)), Some(now().timestamp_millis()));
        }
    }
}

#[test]
fn every_flow_can_be_triggered_in_either_family() {
    for &flow in Flow::ALL {
        for family in ["workflow", "dialpad"] {
            assert!(!sent(&[flow.name(), "--family", family]).is_empty(), "{flow}");
        }
    }
}

#[test]
fn an_unknown_event_is_answered_with_all_names() {
    let error = parsed(&["call.rung"]).err().expect("refused");
    for name in ["call.rung", "call.ring", "voicemail.received", "message.sent", "answered", "outbound"] {
        assert!(error.contains(name), "{name} in {error}");
    }
}

#[test]
fn from_and_to_follow_the_direction() {
    let numbers = |event: &str| {
        let payload = &sent(&[event, "--from", "+1", "--to", "+2"])[0].payload;
        (payload["from_number"].clone(), payload["to_number"].clone())
    };
    for event in ["call.ring", "outbound", "queue", "message.received", "message.sent", "message.updated"] {
        assert_eq!(numbers(event), ("+1".into(), "+2".into()), "{event}");
    }
}

#[test]
fn the_organization_is_named_only_if_nothing_else_routes() {
    let named = |line: &[&str]| {
        let payload = sent(line).swap_remove(0).payload;
        payload["organization_id"].as_i64().or(payload["company_id"].as_i64())
    };
    assert_eq!(named(&["call.ring"]), Some(DEMO_COMPANY_ID));
    assert_eq!(named(&["call.ring", "--app-id", "a"]), None);
    assert_eq!(named(&["call.ring", "--family", "dialpad"]), None);
    assert_eq!(named(&["call.ring", "--app-id", "a", "--organization-id", "5"]), Some(5));
    assert_eq!(named(&["call.ring", "--family", "dialpad", "--organization-id", "5"]), Some(5));
}

#[test]
fn the_webhook_path_is_appended_to_the_servers_path() {
    let url =
        |server: &str, app: Option<&str>| webhook_url(&server.parse().expect("a URL"), app).expect("http");
    assert_eq!(url("http://127.0.0.1:4000", None), "http://127.0.0.1:4000/webhooks");
    assert_eq!(url("https://crm.example/cti/?x=1", Some("a b")), "https://crm.example/cti/webhooks/a%20b");
    assert!(webhook_url(&"ftp://crm.example".parse().expect("a URL"), None).is_err());
}

#[test]
fn the_first_secret_signs_and_an_empty_one_is_an_error() {
    assert_eq!(first_secret(&parsed(&["answered"]).expect("valid").secret).expect("one"), "first");
    assert!(matches!(first_secret(&SecretString::from(" ,second")), Err(TriggerError::NoSecret)));
}
