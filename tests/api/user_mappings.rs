//! What the CRM calls the users of Dialpad, and that it is said wherever a user is named.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, Ask, Call, Shows, TestServer, World, within};

on_both_databases![
    a_user_is_mapped_and_found_from_either_side,
    a_mapping_is_replaced_by_the_next,
    many_users_are_mapped_at_once_or_none,
    a_mapping_that_is_not_understood_is_refused,
    mappings_are_listed_page_by_page,
    a_deleted_mapping_is_gone,
    everything_of_a_mapped_user_says_what_the_crm_calls_them,
    lists_are_narrowed_to_a_person_of_the_crm,
    what_was_emitted_stays_as_it_was_emitted,
    a_mapping_is_made_once_per_idempotency_key,
    apps_and_strangers_do_not_see_mappings,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![another_process_hears_of_a_mapping_within_two_seconds];

fn path(app: &App, rest: &str) -> String {
    format!("/internal/apps/{}/users/{rest}", app.id)
}

async fn map(server: &TestServer, app: &App, user: i64, name: &str) -> Answer {
    let body = json!({"dialpad_user_id": user, "crm_user_id": name});
    server.post(&path(app, "map")).by_admin().json(&body).answer().await
}

async fn get(server: &TestServer, app: &App, rest: &str) -> Answer {
    server.get(&path(app, rest)).by_admin().answer().await
}

async fn delete(server: &TestServer, app: &App, rest: &str) -> Answer {
    server.request(Method::DELETE, &path(app, rest)).by_admin().answer().await
}

async fn a_user_is_mapped_and_found_from_either_side(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mapping = map(&server, &app, 555, "agent 7/ä").await.ok();
    mapping.shows(json!({"dialpad_user_id": 555, "crm_user_id": "agent 7/ä"}));
    assert!(uuid::Uuid::parse_str(mapping["id"].as_str().expect("an id")).is_ok(), "{mapping:#}");
    assert_eq!(mapping["created_at"], mapping["updated_at"]);
    assert_eq!(get(&server, &app, "mappings/dialpad/555").await.ok(), mapping);
    assert_eq!(get(&server, &app, "mappings/crm/agent%207%2F%C3%A4").await.ok(), mapping);
    assert_eq!(get(&server, &app, "mappings").await.list(), [mapping]);
    let as_text = get(&server, &app, "mappings/dialpad/555?ids=string").await.ok();
    as_text.shows(json!({"dialpad_user_id": "555"}));
    for unknown in ["mappings/dialpad/556", "mappings/dialpad/x", "mappings/crm/nobody", "mappings/crm/a%00b"]
    {
        get(&server, &app, unknown).await.refuses(404, "USER_MAPPING_NOT_FOUND");
    }
}

async fn a_mapping_is_replaced_by_the_next(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let first = map(&server, &app, 555, "ada").await.ok();
    let same = map(&server, &app, 555, "ada").await.ok();
    assert_eq!(same, first, "said again, it is no change");
    let next = map(&server, &app, 555, "grace").await.ok();
    next.shows(json!({"id": first["id"], "crm_user_id": "grace", "created_at": first["created_at"]}));
    assert_ne!(next["updated_at"], first["updated_at"]);
    get(&server, &app, "mappings/crm/ada").await.refuses(404, "USER_MAPPING_NOT_FOUND");

    // A person may have several telephones.
    let second = map(&server, &app, 556, "grace").await.ok();
    assert_eq!(get(&server, &app, "mappings/crm/grace").await.ok(), second);
    let both = get(&server, &app, "mappings?crm_user_id=grace").await.list();
    assert_eq!(both, [second, next]);
}

async fn many_users_are_mapped_at_once_or_none(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    map(&server, &app, 7, "before").await.ok();
    let batch = async |mappings: Value| {
        let request = server.post(&path(&app, "batch-map")).by_admin();
        request.json(&json!({"mappings": mappings})).answer().await
    };
    let thousand: Vec<Value> = (1..=1_000)
        .rev()
        .map(|user| json!({"dialpad_user_id": user, "crm_user_id": format!("agent {user}")}))
        .collect();
    let mapped = batch(json!(thousand)).await.list();
    assert_eq!(mapped.len(), 1_000);
    for (asked, mapped) in thousand.iter().zip(&mapped) {
        mapped.shows(asked.clone());
    }
    get(&server, &app, "mappings/dialpad/7").await.ok().shows(json!({"crm_user_id": "agent 7"}));

    for (bad, named) in [
        (json!([]), "mappings"),
        (json!({}), "mappings"),
        (json!([7]), "mappings"),
        (
            json!(
                (0..1_001)
                    .map(|user| json!({"dialpad_user_id": user + 1, "crm_user_id": "x"}))
                    .collect::<Vec<_>>()
            ),
            "1000",
        ),
        (
            json!([{"dialpad_user_id": 2_000, "crm_user_id": "x"}, {"dialpad_user_id": 2_001}]),
            "mappings[1].crm_user_id",
        ),
        (
            json!([{"dialpad_user_id": 2_000, "crm_user_id": "x"}, {"dialpad_user_id": 2_000, "crm_user_id": "y"}]),
            "mappings[1].dialpad_user_id: must be given only once",
        ),
        (json!([{"dialpad_user_id": 2_000, "crm_user_id": "x", "colour": "red"}]), "mappings[0].colour"),
    ] {
        batch(bad).await.refuses_naming(named);
    }
    get(&server, &app, "mappings/dialpad/2000").await.refuses(404, "USER_MAPPING_NOT_FOUND");
}

async fn a_mapping_that_is_not_understood_is_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (body, named) in [
        (json!({"crm_user_id": "x"}), "dialpad_user_id"),
        (json!({"dialpad_user_id": "Ada", "crm_user_id": "x"}), "dialpad_user_id"),
        (json!({"dialpad_user_id": -5, "crm_user_id": "x"}), "dialpad_user_id"),
        (json!({"dialpad_user_id": 5}), "crm_user_id"),
        (json!({"dialpad_user_id": 5, "crm_user_id": 7}), "crm_user_id"),
        (json!({"dialpad_user_id": 5, "crm_user_id": " "}), "crm_user_id"),
        (json!({"dialpad_user_id": 5, "crm_user_id": "a\u{0}b"}), "crm_user_id"),
        (json!({"dialpad_user_id": 5, "crm_user_id": "x".repeat(256)}), "crm_user_id"),
        (json!({"dialpad_user_id": 5, "crm_user_id": "x", "name": "Ada"}), "name"),
        (json!([]), "body"),
    ] {
        server.post(&path(&app, "map")).by_admin().json(&body).answer().await.refuses_naming(named);
    }
    let text = json!({"dialpad_user_id": "9007199254740993", "crm_user_id": "x"});
    let mapped = server.post(&path(&app, "map")).by_admin().json(&text).answer().await.ok();
    mapped.shows(json!({"dialpad_user_id": 9_007_199_254_740_993_i64}));
}

async fn mappings_are_listed_page_by_page(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for user in 1..=5 {
        map(&server, &app, user, "x").await.ok();
    }
    let (mut seen, mut next) = (Vec::new(), Some(path(&app, "mappings?limit=2")));
    while let Some(page) = next {
        let answer = server.get(&page).by_admin().answer().await;
        seen.extend(answer.list().iter().filter_map(|mapping| mapping["dialpad_user_id"].as_i64()));
        next = answer.next_page();
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    for (query, named) in
        [("limit=0", "limit"), ("limit=501", "limit"), ("cursor=x", "cursor"), ("offset=1", "offset")]
    {
        get(&server, &app, &format!("mappings?{query}")).await.refuses_naming(named);
    }
}

async fn a_deleted_mapping_is_gone(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let first = map(&server, &app, 1, "ada").await.ok();
    map(&server, &app, 2, "grace").await.ok();
    let by_id = format!("mappings/{}", first["id"].as_str().expect("an id"));
    for rest in [&*by_id, "mappings/dialpad/2"] {
        assert_eq!(delete(&server, &app, rest).await.status, 204);
        delete(&server, &app, rest).await.refuses(404, "USER_MAPPING_NOT_FOUND");
    }
    delete(&server, &app, "mappings/nonsense").await.refuses(404, "USER_MAPPING_NOT_FOUND");
    assert!(get(&server, &app, "mappings").await.list().is_empty());
}

async fn everything_of_a_mapped_user_says_what_the_crm_calls_them(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    server.webhook(&app, &Call::new(1).of_user(555).ring(0)).await;
    socket.expect("call.ring").await.shows(json!({"dialpad_user_id": 555, "crm_user_id": null}));
    map(&server, &app, 555, "ada \"the first\"").await.ok();
    let name = json!({"crm_user_id": "ada \"the first\""});

    server.webhook(&app, &Call::new(1).of_user(555).started(3)).await;
    socket.expect("call.started").await.shows(name.clone());
    server.webhook(&app, &Call::new(2).of_user(556).ring(0)).await;
    socket.expect("call.ring").await.shows(json!({"dialpad_user_id": 556, "crm_user_id": null}));
    server.webhook(&app, &Call::new(3).of_user(555).voicemail(0)).await;
    socket.expect("call.ended").await.shows(name.clone());
    socket.expect("voicemail.received").await.shows(name.clone());
    let said = json!({
        "event_type": "message.received", "message_id": "m1", "direction": "inbound", "from_number": "+14155551234",
        "to_number": "+14155555678", "text": "\"crm_user_id\":null", "dialpad_user_id": 555, "timestamp": 1_704_110_400,
    });
    server.webhook(&app, &said).await;
    let emitted = socket.expect("message.received").await;
    emitted.shows(name.clone()).shows(json!({"text": "\"crm_user_id\":null"}));

    server.call(&app, 1).await.shows(name.clone());
    for list in ["/api/calls?dialpad_user_id=555", "/api/voicemails", "/api/messages"] {
        let items = server.get(list).by(&app).answer().await.list();
        assert!(!items.is_empty(), "{list}");
        for item in &items {
            item.shows(name.clone());
        }
    }
    let interaction = server.get("/api/interactions/1").by(&app).answer().await.ok();
    interaction.shows(json!({"answered_by": 555, "answered_by_crm_user_id": "ada \"the first\""}));
    delete(&server, &app, "mappings/dialpad/555").await;
    server.webhook(&app, &Call::new(1).of_user(555).ended(60)).await;
    socket.expect("call.ended").await.shows(json!({"crm_user_id": null}));
}

async fn lists_are_narrowed_to_a_person_of_the_crm(world: World) {
    let server = world.start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("another CRM").await);
    for (id, user) in [(1, 555), (2, 556), (3, 557)] {
        server.webhook(&app, &Call::new(id).of_user(user).voicemail(0)).await;
    }
    server.webhook(&app, &Call::new(4).of_user(555).ring(0)).await;
    server.feed_once_processed(&app, 4).await;
    for user in [555, 556] {
        map(&server, &app, user, "ada").await.ok();
    }
    map(&server, &other, 557, "ada").await.ok();
    let of = async |list: &str, person: &str| {
        let listed = server.get(list).query(&[("crm_user_id", person)]).by(&app).answer().await.list();
        listed.iter().filter_map(|item| item["call_id"].as_i64()).collect::<Vec<_>>()
    };
    assert_eq!(of("/api/calls", "ada").await, [4, 2, 1]);
    assert_eq!(of("/api/calls?since=0&dialpad_user_id=556", "ada").await, [2]);
    assert_eq!(of("/api/voicemails", "ada").await, [2, 1]);
    assert!(of("/api/messages", "ada").await.is_empty() && of("/api/calls", "grace").await.is_empty());
    delete(&server, &app, "mappings/dialpad/556").await;
    assert_eq!(of("/api/calls", "ada").await, [4, 1], "the mappings of now count");
}

async fn what_was_emitted_stays_as_it_was_emitted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    map(&server, &app, 555, "ada").await.ok();
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let emitted = server.wait_for_events(&app, 1).await;
    emitted[0].shows(json!({"crm_user_id": "ada"}));
    map(&server, &app, 555, "grace").await.ok();
    server.webhook(&app, &Call::new(1).started(3)).await;
    let feed = server.wait_for_events(&app, 2).await;
    assert_eq!(feed[0], emitted[0]);
    feed[1].shows(json!({"crm_user_id": "grace"}));
}

async fn another_process_hears_of_a_mapping_within_two_seconds(world: World) {
    let (server, other) = (world.start().await, world.start().await);
    let app = server.create_app("CRM").await;
    let emitted = async |call: i64, server: &TestServer| {
        server.webhook(&app, &Call::new(call).ring(0)).await;
        let feed = server.feed_once_processed(&app, call + 100_000).await;
        feed.iter().find(|event| event["dialpad_call_id"] == call).expect("it is emitted")["crm_user_id"]
            .clone()
    };
    assert_eq!(emitted(1, &server).await, Value::Null);
    map(&other, &app, 555, "ada").await.ok();
    let mut call = 1;
    within(Duration::from_secs(2), "the first process hears of it", async || {
        call += 1;
        (emitted(call, &server).await == "ada").then_some(())
    })
    .await;
}

async fn a_mapping_is_made_once_per_idempotency_key(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ask = async |name: &str| {
        let request = server.post(&path(&app, "map")).by_admin().header("idempotency-key", "click");
        request.json(&json!({"dialpad_user_id": 1, "crm_user_id": name})).answer().await
    };
    let first = ask("ada").await;
    map(&server, &app, 1, "grace").await.ok();
    assert_eq!(ask("ada").await.ok(), first.ok(), "the first answer stands");
    get(&server, &app, "mappings/dialpad/1").await.ok().shows(json!({"crm_user_id": "grace"}));
    ask("grace").await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
}

async fn apps_and_strangers_do_not_see_mappings(world: World) {
    let server = world.start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("another").await);
    let mapping = map(&server, &app, 1, "ada").await.ok();
    let by_id = format!("mappings/{}", mapping["id"].as_str().expect("an id"));
    get(&server, &other, "mappings/dialpad/1").await.refuses(404, "USER_MAPPING_NOT_FOUND");
    delete(&server, &other, &by_id).await.refuses(404, "USER_MAPPING_NOT_FOUND");
    for rest in ["map", "batch-map"] {
        server.post(&path(&app, rest)).by(&app).answer().await.refuses(401, "MISSING_BEARER");
    }
    for rest in ["mappings", "mappings/dialpad/1", "mappings/crm/ada"] {
        server.get(&path(&app, rest)).bearer_auth(&app.key).answer().await.refuses(403, "FORBIDDEN");
    }
    let nobody = App { id: "01890000-0000-7000-8000-000000000000".to_owned(), key: String::new() };
    map(&server, &nobody, 1, "ada").await.refuses(404, "APP_NOT_FOUND");
    server.webhook(&other, &Call::new(1).of_user(1).ring(0)).await;
    server.wait_for_events(&other, 1).await[0].shows(json!({"crm_user_id": null}));
}
