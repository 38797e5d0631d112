//! What a CRM sees of whole human calls: one `interaction.ended` for each, the list, and transfers whose webhooks come in
//! any order.

use serde_json::{Value, json};

use crate::support::{
    App, Ask, Call, Dialpad, NOON, Shows, TestServer, With, World, eventually, kinds, of_call,
};

on_both_databases![
    each_human_call_ends_once_and_is_updated_by_later_facts,
    a_consultation_is_told_from_the_call_of_a_customer,
    the_recordings_of_all_legs_come_part_by_part,
    the_end_of_a_human_call_survives_a_restart,
    interactions_are_listed_like_calls,
    a_transfer_is_joined_whatever_comes_first,
    a_second_call_of_the_same_number_is_not_the_one_that_was_sent_on,
    merged_calls_are_one_interaction,
    legs_that_name_nothing_of_each_other_are_one_missed_call,
    calls_are_filtered_by_interaction,
    simulated_transfers_are_joined_in_every_order,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![two_servers_on_one_database_emit_each_end_once];

const ERIN: &str = "+14155550129";
const FAY: &str = "+442079460018";

/// A call of this user with this number.
fn leg(id: i64, user: i64, number: &str) -> Call {
    Call::new(id).of_user(user).between(number, "+14155555678")
}

fn rings(call: &Call, at: i64) -> Value {
    call.state("ringing", at).with("date_started", (NOON + at) * 1000)
}

fn connected(call: &Call, at: i64) -> Value {
    call.state("connected", at).with("date_connected", (NOON + at) * 1000)
}

fn hangs_up(call: &Call, answered: i64, at: i64) -> Value {
    let ended = call.state("hangup", at).with("date_ended", (NOON + at) * 1000);
    ended.with("date_connected", (NOON + answered) * 1000).with("talk_time", (at - answered) * 1000)
}

fn missed(call: &Call, at: i64) -> Value {
    call.state("missed", at).with("date_ended", (NOON + at) * 1000)
}

fn sent_on_by(user: i64, webhooks: Vec<Value>) -> Vec<Value> {
    let sender = json!({"type": "user", "id": user, "name": "Ada"});
    webhooks.into_iter().map(|webhook| webhook.with("transferred_from", sender.clone())).collect()
}

/// A transfer from user 701 to 702: the source, and the new leg.
fn transfer() -> (Vec<Value>, Vec<Value>) {
    let (first, second) = (leg(1, 701, ERIN), leg(2, 702, ERIN));
    let source =
        vec![rings(&first, 0), connected(&first, 3), hangs_up(&first, 3, 60).with("is_transferred", true)];
    (source, sent_on_by(701, vec![rings(&second, 60), connected(&second, 64), hangs_up(&second, 64, 100)]))
}

async fn list(server: &TestServer, app: &App, query: &str) -> Vec<Value> {
    server.get(&format!("/api/interactions?{query}")).by(app).answer().await.list()
}

fn of_interactions(feed: &[Value]) -> Vec<&Value> {
    let is_one = |event: &&Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("interaction."));
    feed.iter().filter(is_one).collect()
}

fn legs(interactions: &[Value]) -> Vec<Vec<i64>> {
    let ids = |whole: &Value| {
        let calls = whole["calls"].as_array().expect("its legs").iter();
        let mut ids: Vec<i64> = calls.filter_map(|call| call["call_id"].as_i64()).collect();
        ids.sort_unstable();
        ids
    };
    let mut all: Vec<Vec<i64>> = interactions.iter().map(ids).collect();
    all.sort();
    all
}

async fn each_human_call_ends_once_and_is_updated_by_later_facts(world: World) {
    let server = world.with("INTERACTION_SETTLE", "300ms").start().await;
    let app = server.create_app("CRM").await;
    let mapping = json!({"dialpad_user_id": 701, "crm_user_id": "ada"});
    server
        .post(&format!("/internal/apps/{}/users/map", app.id))
        .by_admin()
        .json(&mapping)
        .answer()
        .await
        .ok();
    let (source, target) = transfer();
    server.webhooks(&app, source.iter().chain(&target)).await;
    let feed = server.feed_until(&app, "interaction.ended").await;
    let ended = of_interactions(&feed)[0];
    ended.shows(json!({
        "interaction_id": feed[0]["interaction_id"], "status": "ended", "outcome": "answered",
        "direction": "inbound", "external_number": ERIN, "answered_by": 701, "answered_by_crm_user_id": "ada",
        "started_at": "2024-01-01T12:00:03Z", "answered_at": "2024-01-01T12:00:03Z",
        "ended_at": "2024-01-01T12:01:40Z", "duration_seconds": 100, "talk_seconds": 93, "hold_seconds": 0,
        "voicemail": null, "recordings": [], "calls": [1, 2],
    }));
    let recording = leg(2, 702, ERIN).state("recording", 130).without("talk_time").with(
        "recording_details",
        json!([{"id": "9", "recording_type": "callrecording", "url": "https://dialpad.com/r/9"}]),
    );
    server.webhook(&app, &recording).await;
    let feed = server.feed_until(&app, "interaction.updated").await;
    let expected = json!([{"call_id": 2, "id": 9, "url": "https://dialpad.com/r/9", "type": "callrecording",
        "duration_seconds": null, "started_at": null}]);
    of_interactions(&feed)[1].shows(json!({"changed": ["recordings"], "recordings": expected}));
    let whole = server.get("/api/interactions/2").by(&app).answer().await.ok();
    whole.shows(json!({"recordings": expected, "talk_seconds": 93, "answered_at": "2024-01-01T12:00:03Z"}));
    assert_eq!(kinds(&feed).iter().filter(|kind| **kind == "interaction.ended").count(), 1);
}

async fn a_consultation_is_told_from_the_call_of_a_customer(world: World) {
    let server = world.with("INTERACTION_SETTLE", "300ms").start().await;
    let app = server.create_app("CRM").await;
    let said = |webhooks: Vec<Value>, is_internal: bool| -> Vec<Value> {
        webhooks.into_iter().map(|webhook| webhook.with("is_internal", is_internal)).collect()
    };
    let life = |call: &Call| vec![rings(call, 0), connected(call, 3), hangs_up(call, 3, 60)];
    let (customer, consultation, unknown) =
        (leg(1, 701, ERIN), leg(2, 701, "+14155550702"), leg(3, 703, FAY));
    server.webhooks(&app, &said(life(&customer), false)).await;
    server.webhooks(&app, &said(life(&consultation), true)).await;
    server.webhooks(&app, &life(&unknown)).await;
    let feed = server.feed_when(&app, "three ends", |feed| of_interactions(feed).len() == 3).await;
    for (call, expected) in [(1, json!(false)), (2, json!(true)), (3, Value::Null)] {
        let ended = of_interactions(&feed).into_iter().find(|event| event["calls"] == json!([call]));
        assert_eq!(ended.expect("it has ended")["is_internal"], expected, "{call}");
        let whole = server.get(&format!("/api/interactions/{call}")).by(&app).answer().await.ok();
        assert_eq!(whole["is_internal"], expected, "{call}");
    }
    // What becomes known later.
    server
        .webhooks(&app, &[hangs_up(&unknown, 3, 60).with("is_internal", true).with("mos_score", 4.2)])
        .await;
    let feed = server.feed_until(&app, "interaction.updated").await;
    of_interactions(&feed)[3].shows(json!({"changed": ["is_internal"], "is_internal": true, "calls": [3]}));
}

async fn the_recordings_of_all_legs_come_part_by_part(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (source, target) = transfer();
    server.webhooks(&app, source.iter().chain(&target)).await;
    let part = |id: &str, second: i64| {
        json!({"id": id, "recording_type": "callrecording", "url": format!("https://dialpad.com/r/{id}"),
            "duration": "12499.9", "start_time": (NOON + second) * 1000})
    };
    let recorded = |id: i64, user: i64, parts: Value| {
        leg(id, user, ERIN).state("recording", 130).without("talk_time").with("recording_details", parts)
    };
    // The same recording is reported for both legs.
    let first = recorded(1, 701, json!([part("7", 4), part("8", 30)]));
    server.webhooks(&app, &[first, recorded(2, 702, json!([part("8", 30), part("x", 70)]))]).await;
    server.feed_once_processed(&app, 99).await;
    let shown = |call: i64, id: Value, at: &str| {
        let url = format!("https://dialpad.com/r/{}", id.as_str().map_or(id.to_string(), str::to_owned));
        json!({"call_id": call, "id": id, "url": url, "type": "callrecording", "duration_seconds": 12,
            "started_at": at})
    };
    let expected = json!([
        shown(1, json!(7), "2024-01-01T12:00:04Z"),
        shown(1, json!(8), "2024-01-01T12:00:30Z"),
        shown(2, json!("x"), "2024-01-01T12:01:10Z"),
    ]);
    let whole = list(&server, &app, "outcome=answered").await;
    assert_eq!(whole[0]["recordings"], expected);
    assert_eq!(whole[0]["calls"][0]["recordings"][1]["id"], 8, "as the call has them");
    let as_text = list(&server, &app, "outcome=answered&ids=string").await;
    as_text[0]["recordings"][0].shows(json!({"call_id": "1", "id": "7"}));
}

async fn the_end_of_a_human_call_survives_a_restart(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = leg(1, 701, ERIN);
    server.webhooks(&app, &[rings(&call, 0), missed(&call, 20)]).await;
    server.feed_until(&app, "call.ended").await;
    server.process.kill();

    let (ours, mut server) = (world.clone(), world.with("INTERACTION_SETTLE", "0s").start().await);
    // It was put off for an hour, by the setting of then; its next webhook counts anew.
    server.webhook(&app, &call.state("hangup", 21).with("date_ended", (NOON + 20) * 1000)).await;
    server.feed_until(&app, "interaction.ended").await;
    server.process.kill();

    let server = ours.with("INTERACTION_SETTLE", "0s").start().await;
    let feed = server.feed_once_processed(&app, 99).await;
    assert_eq!(kinds(&feed).iter().filter(|kind| **kind == "interaction.ended").count(), 1, "{feed:#?}");
}

async fn two_servers_on_one_database_emit_each_end_once(world: World) {
    let world = world.with("INTERACTION_SETTLE", "200ms");
    let (one, other) = (world.start().await, world.start().await);
    let app = one.create_app("CRM").await;
    for number in 1..=25 {
        let call = leg(number, 701, &format!("+1415555{number:04}"));
        let server = if number % 2 == 0 { &one } else { &other };
        server.webhooks(&app, &[rings(&call, 0), missed(&call, 20)]).await;
    }
    let count = |feed: &[Value]| of_interactions(feed).len();
    let feed = one.feed_when(&app, "25 ends are emitted", |feed| count(feed) >= 25).await;
    other.feed_when(&app, "they are seen on the other server", |feed| count(feed) >= 25).await;
    let mut ids: Vec<&Value> = of_interactions(&feed).iter().map(|event| &event["calls"][0]).collect();
    ids.sort_by_key(|id| id.as_i64());
    assert_eq!(ids, (1..=25).map(|id| json!(id)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
}

async fn interactions_are_listed_like_calls(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mapping = json!({"dialpad_user_id": 702, "crm_user_id": "bob"});
    server
        .post(&format!("/internal/apps/{}/users/map", app.id))
        .by_admin()
        .json(&mapping)
        .answer()
        .await
        .ok();
    let (source, target) = transfer();
    server.webhooks(&app, source.iter().chain(&target)).await;
    let (lost, placed) =
        (leg(3, 703, FAY), Call::new(4).of_user(704).between("+14155555678", FAY).outbound());
    server.webhooks(&app, &[rings(&lost, 0), missed(&lost, 20), placed.state("calling", 5)]).await;
    server.feed_once_processed(&app, 99).await;
    let whole = list(&server, &app, "until=2999-01-01T00:00:00Z").await;
    assert_eq!(legs(&whole), [vec![1, 2], vec![3], vec![4], vec![99]]);
    assert_eq!(whole[1]["calls"][0]["call_id"], 4, "the newest first: {whole:#?}");
    assert_eq!(
        server.get("/api/interactions/3").by(&app).answer().await.ok(),
        whole[2],
        "as one alone is shown"
    );

    for (query, expected) in [
        ("outcome=answered", vec![vec![1, 2]]),
        ("outcome=missed&direction=inbound", vec![vec![3]]),
        ("outcome=voicemail", vec![]),
        ("status=ringing&direction=outbound", vec![vec![4]]),
        ("status=ended", vec![vec![1, 2], vec![3]]),
        ("number=%2B442079460018", vec![vec![3], vec![4]]),
        ("number=%2B442079460019", vec![]),
        ("dialpad_user_id=702", vec![vec![1, 2]]),
        ("dialpad_user_id=703&status=ended", vec![vec![3]]),
        ("crm_user_id=bob", vec![vec![1, 2]]),
        ("crm_user_id=eve", vec![]),
        ("until=1", vec![]),
    ] {
        assert_eq!(legs(&list(&server, &app, query).await), expected, "{query}");
    }
    for bad in ["outcome=lost", "status=over", "from=1", "limit=0", "direction=up"] {
        let answer = server.get(&format!("/api/interactions?{bad}")).by(&app).answer().await;
        answer.refuses(400, "INVALID_REQUEST");
    }

    let page = server.get("/api/interactions?limit=3").by(&app).answer().await;
    let next = page.next_page().expect("a next page");
    let rest = server.get(&next).by(&app).answer().await;
    assert_eq!((page.list().len(), legs(&rest.list())), (3, vec![vec![1, 2]]));
    assert_eq!(rest.next_page(), None);

    let seen = whole[0]["updated_at"].as_str().expect("a time");
    server.webhook(&app, &hangs_up(&placed, 8, 30)).await;
    server.feed_once_processed(&app, 98).await;
    let mut changed = list(&server, &app, &format!("since={seen}")).await;
    // `since` is inclusive, and one batch changes several at the same instant.
    changed.retain(|whole| whole["updated_at"].as_str() > Some(seen));
    assert_eq!(legs(&changed), [vec![4], vec![98]]);
    assert_eq!(changed[0]["outcome"], "answered", "the oldest change first: {changed:#?}");
    let stranger = server.create_app("another").await;
    assert!(list(&server, &stranger, "").await.is_empty());
}

async fn a_transfer_is_joined_whatever_comes_first(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (source, target) = transfer();
    server.webhooks(&app, target.iter().rev().chain(source.iter().rev())).await;
    let feed = server.feed_once_processed(&app, 99).await;
    let whole = list(&server, &app, "status=ended").await;
    assert_eq!(legs(&whole), [vec![1, 2]]);
    whole[0].shows(json!({"answered_by": 701, "talk_seconds": 93, "duration_seconds": 100}));
    for call in [1, 2] {
        let events = of_call(&feed, call);
        assert_eq!(events[events.len() - 1]["interaction_id"], whole[0]["interaction_id"], "{events:#?}");
    }
}

async fn a_second_call_of_the_same_number_is_not_the_one_that_was_sent_on(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // Erin's first call is over, her second was missed; the third talks on, and the fourth is sent on.
    let calls = [leg(11, 701, ERIN), leg(12, 701, ERIN), leg(13, 701, ERIN), leg(14, 701, ERIN)];
    let target = leg(15, 702, ERIN);
    server
        .webhooks(
            &app,
            &[
                rings(&calls[0], 0),
                connected(&calls[0], 3),
                hangs_up(&calls[0], 3, 60),
                rings(&calls[1], 70),
                missed(&calls[1], 199),
                rings(&calls[2], 100),
                connected(&calls[2], 103),
                rings(&calls[3], 90),
                connected(&calls[3], 93),
            ],
        )
        .await;
    server.webhooks(&app, &sent_on_by(701, vec![rings(&target, 200), connected(&target, 203)])).await;
    server.webhooks(&app, &[hangs_up(&calls[3], 93, 201).with("is_transferred", true)]).await;
    server.webhooks(&app, &[hangs_up(&calls[2], 103, 300)]).await;
    server.feed_once_processed(&app, 99).await;
    let whole = list(&server, &app, "number=%2B14155550129").await;
    assert_eq!(legs(&whole), [vec![11], vec![12], vec![13], vec![14, 15]]);
}

async fn merged_calls_are_one_interaction(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (held, added) =
        (leg(1, 701, ERIN), Call::new(2).of_user(701).between("+14155555678", FAY).outbound());
    server
        .webhooks(
            &app,
            &[
                rings(&held, 0),
                connected(&held, 3),
                held.state("hold", 20),
                added.state("calling", 22),
                connected(&added, 25),
                added.state("merged", 40).with("date_connected", (NOON + 25) * 1000),
                connected(&held, 41),
                hangs_up(&added, 25, 100),
                hangs_up(&held, 3, 101),
            ],
        )
        .await;
    server.feed_once_processed(&app, 99).await;
    let whole = list(&server, &app, "status=ended").await;
    assert_eq!(legs(&whole), [vec![1, 2]]);
    whole[0].shows(json!({"external_number": ERIN, "direction": "inbound", "outcome": "answered"}));
}

async fn legs_that_name_nothing_of_each_other_are_one_missed_call(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let group = [leg(1, 701, ERIN), leg(2, 702, ERIN), leg(3, 703, ERIN)];
    let others = [leg(4, 701, FAY), leg(5, 702, ERIN).between(ERIN, "+14155550100"), leg(6, 703, ERIN)];
    for (call, at) in group.iter().zip([0, 0, 1]).chain(others.iter().zip([0, 0, 60])) {
        server.webhook(&app, &rings(call, at)).await;
    }
    for (call, at) in group.iter().chain(&others).zip([20, 21, 20, 20, 20, 80]) {
        server.webhook(&app, &missed(call, at)).await;
    }
    server.feed_once_processed(&app, 99).await;
    let whole = list(&server, &app, "outcome=missed").await;
    assert_eq!(legs(&whole), [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
}

async fn calls_are_filtered_by_interaction(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (source, target) = transfer();
    server.webhooks(&app, target.iter().chain(&source)).await;
    server.feed_once_processed(&app, 99).await;
    let ids = async |interaction: &str| {
        let path = format!("/api/calls?interaction_id={interaction}");
        let calls = server.get(&path).by(&app).answer().await.list();
        calls.iter().map(|call| call["call_id"].as_i64().expect("an id")).collect::<Vec<_>>()
    };
    let first = server.call(&app, 1).await;
    let id = first["interaction_id"].as_str().expect("an id");
    assert_eq!(ids(id).await, [1, 2]);
    assert_eq!(ids(first["id"].as_str().expect("an id")).await, [1, 2], "an id that it had before");
    assert_eq!(ids("01890000-0000-7000-8000-000000000000").await, Vec::<i64>::new());
    let answer = server.get("/api/calls?interaction_id=7").by(&app).answer().await;
    answer.refuses(400, "INVALID_REQUEST");
}

async fn simulated_transfers_are_joined_in_every_order(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    for (number, order) in ["as_it_happens", "shuffled", "reversed"].into_iter().enumerate() {
        let app = server.create_app(order).await;
        server.connect(&app).await;
        dialpad.switch(&json!({"webhook_order": order})).await;
        let flow = json!({"flow": "transfer", "family": "dialpad", "calls": 6, "rate": 50, "pace": 0, "seed": number,
            "wait_for_subscriber": true});
        dialpad.play(&flow).await;
        eventually(&format!("{order}: each transfer is one interaction"), async || {
            let whole = list(&server, &app, "status=ended").await;
            let sizes: Vec<usize> = legs(&whole).iter().map(Vec::len).collect();
            (sizes == [2; 6]).then_some(())
        })
        .await;
        let path = format!("/internal/apps/{}", app.id);
        let deleted = server.request(reqwest::Method::DELETE, &path).by_admin().answer().await;
        assert_eq!(deleted.status, 204);
    }
}
