//! `GET /api/calls`: every filter, and refusing what it does not know.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::{App, Ask, Call, Shows, TestServer, World};

on_both_databases![
    calls_come_newest_first,
    each_filter_keeps_what_it_names,
    filters_work_together,
    since_takes_seconds_milliseconds_and_rfc_3339,
    since_gives_what_changed_oldest_change_first,
    since_is_inclusive_and_until_exclusive,
    what_is_not_known_is_refused_by_name,
    odd_values_are_no_fault_of_the_database,
    a_call_is_found_by_either_of_its_ids,
];

/// Four calls: a ringing one, an active one, a held outbound one, and one that is over.
async fn office(server: &TestServer) -> App {
    let app = server.create_app("CRM").await;
    let ringing = Call::new(1).between("+14155550001", "+14155559000");
    let active = Call::new(2).between("+14155550002", "+14155559000");
    let held = Call::new(3).outbound().between("+14155559000", "+14155550003").of_user(777);
    let over = Call::new(4).between("+14155550002", "+14155559001").of_user(777);
    server.webhooks(&app, [&ringing.ring(0), &active.ring(10), &active.started(12)]).await;
    server.webhooks(&app, [&held.ring(20), &held.started(22), &held.held(30)]).await;
    server.webhooks(&app, [&over.ring(40), &over.ended(50)]).await;
    server.wait_for_events(&app, 8).await;
    app
}

fn ids(calls: &[Value]) -> Vec<i64> {
    calls.iter().map(|call| call["dialpad_call_id"].as_i64().expect("a call has Dialpad's id")).collect()
}

fn calls(server: &TestServer, app: &App, query: &[(&str, &str)]) -> RequestBuilder {
    server.get("/api/calls").query(query).by(app)
}

async fn found(server: &TestServer, app: &App, query: &[(&str, &str)]) -> Vec<i64> {
    ids(&calls(server, app, query).answer().await.list())
}

async fn calls_come_newest_first(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    assert_eq!(found(&server, &app, &[]).await, [4, 3, 2, 1]);
    // What happens to a call later does not move it.
    server.webhook(&app, &Call::new(1).started(60)).await;
    server.wait_for_events(&app, 9).await;
    assert_eq!(found(&server, &app, &[]).await, [4, 3, 2, 1]);
}

async fn each_filter_keeps_what_it_names(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    let cases: [(&str, &str, &[i64]); 13] = [
        ("status", "ringing", &[1]),
        ("status", "active", &[2]),
        ("status", "held", &[3]),
        ("status", "ended", &[4]),
        ("direction", "inbound", &[4, 2, 1]),
        ("direction", "outbound", &[3]),
        ("from", "+14155550002", &[4, 2]),
        ("from", "+19990000000", &[]),
        ("to", "+14155559000", &[2, 1]),
        ("to", "+14155550003", &[3]),
        ("dialpad_user_id", "777", &[4, 3]),
        ("dialpad_user_id", "1", &[]),
        ("limit", "2", &[4, 3]),
    ];
    for (name, value, expected) in cases {
        assert_eq!(found(&server, &app, &[(name, value)]).await, expected, "{name}={value}");
    }
}

async fn filters_work_together(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    let query =
        [("direction", "inbound"), ("dialpad_user_id", "777"), ("status", "ended"), ("from", "+14155550002")];
    assert_eq!(found(&server, &app, &query).await, [4]);
    assert!(found(&server, &app, &[("status", "held"), ("direction", "inbound")]).await.is_empty());
}

async fn since_takes_seconds_milliseconds_and_rfc_3339(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    let changed = changed_at(&server.call(&app, 3).await);
    let before = changed - chrono::TimeDelta::seconds(1);
    let seconds = before.timestamp().to_string();
    let milliseconds = before.timestamp_millis().to_string();
    let text = before.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let elsewhere =
        before.with_timezone(&chrono::FixedOffset::east_opt(7_200).expect("an offset")).to_rfc3339();
    let (with_fraction, milliseconds_with_fraction) = (format!("{seconds}.25"), format!("{milliseconds}.5"));
    for since in [seconds, with_fraction, milliseconds, milliseconds_with_fraction, text, elsewhere] {
        assert!(found(&server, &app, &[("since", &since)]).await.contains(&3), "since={since}");
    }
    let (future, past) = ("4102444800", "946684800");
    assert!(found(&server, &app, &[("since", future)]).await.is_empty());
    assert_eq!(found(&server, &app, &[("since", past)]).await.len(), 4);
    assert!(found(&server, &app, &[("until", past)]).await.is_empty());
    assert_eq!(found(&server, &app, &[("until", future)]).await, [4, 3, 2, 1]);
}

async fn since_gives_what_changed_oldest_change_first(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    assert_eq!(found(&server, &app, &[("since", "0")]).await, [1, 2, 3, 4]);
    server.webhook(&app, &Call::new(1).between("+14155550001", "+14155559000").ended(60)).await;
    server.wait_for_events(&app, 9).await;
    assert_eq!(found(&server, &app, &[("since", "0")]).await, [2, 3, 4, 1]);
    assert_eq!(found(&server, &app, &[("since", "0"), ("status", "ended")]).await, [4, 1]);
}

async fn since_is_inclusive_and_until_exclusive(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut changes = Vec::new();
    for id in 1..=3 {
        server.webhook(&app, &Call::new(id).ring(0)).await;
        server.wait_for_events(&app, changes.len() + 1).await;
        changes
            .push(server.call(&app, id).await["updated_at"].as_str().expect("a call has changed").to_owned());
    }
    assert_eq!(found(&server, &app, &[("since", &changes[1])]).await, [2, 3]);
    assert_eq!(found(&server, &app, &[("since", &changes[0]), ("until", &changes[2])]).await, [1, 2]);
    assert!(found(&server, &app, &[("since", &changes[1]), ("until", &changes[1])]).await.is_empty());
}

fn changed_at(call: &Value) -> chrono::DateTime<chrono::Utc> {
    let text = call["updated_at"].as_str().expect("a call has changed");
    chrono::DateTime::parse_from_rfc3339(text).expect("times are RFC 3339").to_utc()
}

async fn what_is_not_known_is_refused_by_name(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    for (name, value) in [
        ("status", "busy"),
        ("status", ""),
        ("direction", "sideways"),
        ("dialpad_user_id", "Ada"),
        ("since", "yesterday"),
        ("since", "2024-01-01"),
        ("since", "-9223372036854775808"),
        ("since", "9223372036854775807"),
        ("until", "12:00"),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "-1"),
        ("limit", "many"),
        ("cursor", "nonsense"),
        ("colour", "red"),
        ("Status", "ringing"),
    ] {
        calls(&server, &app, &[(name, value)]).answer().await.refuses_naming(name);
    }
    calls(&server, &app, &[("limit", "500")]).answer().await.ok();
    calls(&server, &app, &[("limit", "1")]).answer().await.ok();
}

async fn odd_values_are_no_fault_of_the_database(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    let queries = [
        "?from=%00",
        "?to=a%00b",
        "?from=%FF",
        "?since=-62167219200000",
        "?since=-210866803200000",
        "?since=-8334601228800000",
        "?until=8210266876799000",
        "?since=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z",
        "?dialpad_user_id=-9223372036854775808",
        "/%00",
        "/-1",
        "/9223372036854775808",
        "/..",
        "/%2e%2e%2fapps",
    ];
    let mut wrong = Vec::new();
    for query in queries {
        let answer = server.get(&format!("/api/calls{query}")).by(&app).answer().await;
        if ![200, 400, 404].contains(&answer.status) {
            wrong.push(format!("{query} was answered {} {}", answer.status, answer.body));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.get("/api/calls").header("x-api-key", "raw_\u{e4}").answer().await.fails_with(401);
}

async fn a_call_is_found_by_either_of_its_ids(world: World) {
    let server = world.start().await;
    let app = office(&server).await;
    let by_theirs = server.call(&app, 4).await;
    by_theirs.shows(json!({"dialpad_call_id": 4, "call_id": 4, "app_id": app.id, "outcome": "missed"}));
    let ours = by_theirs["id"].as_str().expect("a call has our id");
    assert!(uuid::Uuid::parse_str(ours).is_ok(), "{by_theirs:#}");
    assert_eq!(server.call(&app, ours).await, by_theirs);
    let listed = calls(&server, &app, &[("status", "ended")]).answer().await.list();
    assert_eq!(listed, [by_theirs], "the list and the item show the same");
}
