//! What Dialpad reports of a call goes before what is derived, and a call ends once, whatever comes first.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};

use crate::support::{App, Ask, Call, NOON, Shows, TestServer, With, World, kinds, of_call};

on_both_databases![
    whoever_picks_up_a_persons_phone_has_answered_and_a_group_has_not,
    a_reported_talk_is_an_answer_and_a_voicemail_without_one_is_none,
    a_caller_who_hears_the_greeting_and_leaves_nothing_was_missed,
    states_in_which_two_sides_talk_end_a_hold,
    a_call_ends_once_whatever_comes_first,
    what_comes_after_a_call_ends_one_whose_hangup_was_lost,
    each_state_before_the_answer_is_shown,
    lengths_are_rounded_once,
    the_transcript_of_a_conversation_is_no_voicemail,
    the_talk_of_a_main_line_has_neither_menu_nor_queue,
    every_phone_that_lost_the_race_says_so_at_once,
    a_state_of_an_unknown_call_names_no_interaction,
];

/// A call that is sent after others, to see that they are processed.
static NEXT_MARKER: AtomicI64 = AtomicI64::new(1_000_000);

fn ms(at: i64) -> i64 {
    (NOON + at) * 1000
}

/// A snapshot that leaves the lengths open, as before the end.
fn open(snapshot: Value) -> Value {
    snapshot.with("talk_time", json!(null)).with("hold_time", json!(null))
}

fn over(snapshot: Value, at: i64) -> Value {
    open(snapshot).with("date_ended", ms(at))
}

fn target(snapshot: Value, kind: &str) -> Value {
    snapshot.with("target", json!({"type": kind, "id": 7_001, "name": "Lobby"}))
}

/// Sends webhooks one by one and returns what is emitted of the call.
async fn tell(
    server: &TestServer,
    app: &App,
    call: i64,
    states: impl IntoIterator<Item = Value>,
) -> Vec<Value> {
    for state in states {
        server.webhook(app, &state).await;
    }
    let emitted = server.feed_once_processed(app, NEXT_MARKER.fetch_add(1, Ordering::Relaxed)).await;
    of_call(&emitted, call)
}

async fn whoever_picks_up_a_persons_phone_has_answered_and_a_group_has_not(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let kinds_of_targets = [
        ("user", "answered"),
        ("room", "answered"),
        ("Room", "answered"),
        ("office", "abandoned"),
        ("department", "abandoned"),
        ("call_center", "abandoned"),
        ("callcenter", "abandoned"),
        ("callrouter", "abandoned"),
        ("coachinggroup", "abandoned"),
        ("coachingteam", "abandoned"),
        ("staffgroup", "abandoned"),
        ("channel", "abandoned"),
        ("unknown", "abandoned"),
        ("kiosk", "abandoned"),
    ];
    for (id, (kind, outcome)) in (1..).zip(kinds_of_targets) {
        let call = Call::new(id);
        let state = |name: &str, at| target(call.state(name, at), kind).with("date_connected", ms(3));
        let states = [
            target(call.state("ringing", 0), kind),
            open(state("connected", 3)),
            over(state("hangup", 63), 63),
        ];
        tell(&server, &app, id, states).await;
        let talk = if outcome == "answered" { 60 } else { 0 };
        let shown = server.call(&app, id).await;
        shown.shows(json!({"outcome": outcome, "talk_seconds": talk}));
        let user = if kind == "user" { json!(7_001) } else { json!(null) };
        assert_eq!(shown["dialpad_user_id"], user, "{kind}");
        assert_eq!(shown["leg"], if outcome == "answered" { "direct" } else { "group" }, "{kind}");
    }
}

async fn a_reported_talk_is_an_answer_and_a_voicemail_without_one_is_none(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let hangup = |call: &Call| over(call.state("hangup", 65), 65);

    let unseen = Call::new(1);
    tell(&server, &app, 1, [unseen.state("ringing", 0), hangup(&unseen).with("talk_time", 60_000)]).await;
    server.call(&app, 1).await.shows(json!({
        "outcome": "answered", "talk_seconds": 60, "answered_at": "2024-01-01T12:00:05Z",
    }));

    let group = Call::new(2);
    let of_group = |state: Value| target(state, "department");
    tell(
        &server,
        &app,
        2,
        [of_group(group.state("preanswer", 0)), of_group(hangup(&group)).with("talk_time", 40_000)],
    )
    .await;
    server.call(&app, 2).await.shows(json!({"outcome": "answered", "talk_seconds": 40}));

    for (id, talk) in [(3, json!(null)), (4, json!(0))] {
        let greeted = Call::new(id);
        let left = hangup(&greeted).with("date_connected", ms(20)).with("talk_time", talk);
        let emitted = tell(
            &server,
            &app,
            id,
            [
                greeted.state("ringing", 0),
                open(greeted.state("connected", 20)).with("date_connected", ms(20)),
                left.with("voicemail_link", "https://dialpad.com/v/1").with("voicemail_recording_id", "88"),
            ],
        )
        .await;
        assert_eq!(kinds(&emitted), ["call.ring", "call.started", "call.ended", "voicemail.received"]);
        server.call(&app, id).await.shows(json!({
            "outcome": "voicemail", "answered_at": null, "talk_seconds": 0, "is_voicemail": true,
        }));
    }
}

async fn a_caller_who_hears_the_greeting_and_leaves_nothing_was_missed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (id, link) in [(1, json!(null)), (2, json!("https://dialpad.com/v/2"))] {
        let call = Call::new(id);
        let after = |state: Value| {
            state.with("voicemail_link", link.clone()).with("voicemail_recording_id", json!(null))
        };
        let emitted = tell(
            &server,
            &app,
            id,
            [
                call.state("ringing", 0),
                call.state("missed", 20),
                after(call.state("voicemail", 21)),
                after(over(call.state("hangup", 30), 30)),
            ],
        )
        .await;
        let named: Vec<_> = kinds(&emitted).into_iter().filter(|kind| *kind != "call.updated").collect();
        assert_eq!(named, ["call.ring", "call.ended"], "{id}");
        let shown = server.call(&app, id).await;
        shown.shows(json!({"outcome": "missed", "is_voicemail": true, "voicemail": null}));
    }
    let uploaded =
        Call::new(2).state("voicemail_uploaded", 60).with("voicemail_link", "https://dialpad.com/v/2");
    let emitted = tell(&server, &app, 2, [uploaded.with("voicemail_recording_id", "88")]).await;
    let [.., updated, received] = &emitted[..] else { panic!("{emitted:#?}") };
    updated.shows(json!({"type": "call.updated", "changed": ["outcome"], "outcome": "voicemail"}));
    received.shows(json!({"type": "voicemail.received", "recording_url": "https://dialpad.com/v/2"}));
}

async fn states_in_which_two_sides_talk_end_a_hold(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (id, state) in (1..).zip(["merged", "takeover", "barge", "monitor", "eavesdrop", "unpark"]) {
        // Of a user each: a merge joins the calls of its user.
        let call = Call::new(id).of_user(500 + id);
        let held = if state == "unpark" { "parked" } else { "hold" };
        let talking = |name: &str, at| open(call.answered_state(name, at));
        let states = [talking("connected", 3), talking(held, 20), talking(state, 40)];
        let emitted = tell(&server, &app, id, states).await;
        assert_eq!(kinds(&emitted), ["call.started", "call.held", "call.resumed", "call.raw"], "{state}");
        server.call(&app, id).await.shows(json!({"status": "active", "dialpad_state": state}));
        tell(&server, &app, id, [over(call.answered_state("hangup", 100), 100)]).await;
        server.call(&app, id).await.shows(json!({"hold_seconds": 20, "talk_seconds": 77}));
    }
}

async fn a_call_ends_once_whatever_comes_first(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let life = |id: i64, first: Value| {
        let call = Call::new(id);
        (id, vec![first, call.ring(0), call.started(3), call.ended(60)])
    };
    let recording =
        Call::new(1).event("call.recording.completed", 90).with("recording_url", "https://dialpad.com/r/1");
    for (id, life) in [life(1, recording), life(2, Call::new(2).voicemail(70))] {
        let emitted = tell(&server, &app, id, life[..1].to_vec()).await;
        let first = &emitted[0];
        assert_eq!(first["type"], "call.ended", "{emitted:#?}");
        assert!(!first["outcome"].is_null() && !first["ended_at"].is_null(), "{first:#}");
        let emitted = tell(&server, &app, id, life[1..].to_vec()).await;
        let ends = kinds(&emitted).iter().filter(|kind| **kind == "call.ended").count();
        assert_eq!(ends, 1, "{:?}", kinds(&emitted));
        assert!(emitted.iter().all(|event| event["status"] == "ended"), "{emitted:#?}");
        server.call(&app, id).await.shows(json!({
            "status": "ended", "outcome": "answered", "ended_at": "2024-01-01T12:01:00Z", "talk_seconds": 57,
        }));
    }
}

async fn what_comes_after_a_call_ends_one_whose_hangup_was_lost(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (id, state) in (1..).zip(["recap_summary", "call_transcription", "csat", "dispositions", "recording"])
    {
        let call = Call::new(id);
        let after = call.answered_state(state, 300).with("date_ended", ms(120));
        let after = after.with("talk_time", 116_000.0).with("total_duration", 120_000.1);
        let emitted = tell(
            &server,
            &app,
            id,
            [call.state("ringing", 0), open(call.answered_state("connected", 3)), after],
        )
        .await;
        let after = if state == "recording" { &[][..] } else { &["call.raw"][..] };
        assert_eq!(kinds(&emitted[2..]), [&["call.ended"][..], after].concat(), "{state}");
        emitted[2].shows(json!({
            "ended_at": "2024-01-01T12:02:00Z", "talk_seconds": 116, "duration_seconds": 120,
            "outcome": "answered",
        }));
    }
    let call = Call::new(9);
    let early = call.state("ringing", 0).with("date_ended", ms(120));
    tell(&server, &app, 9, [early, call.answered_state("playbook", 5).with("date_ended", ms(120))]).await;
    server.call(&app, 9).await.shows(json!({"status": "ringing"}));
}

async fn each_state_before_the_answer_is_shown(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(1);
    let states =
        ["ringing", "queued", "ringing"].into_iter().zip(0..).map(|(state, at)| call.state(state, at));
    let emitted = tell(&server, &app, 1, states).await;
    assert_eq!(kinds(&emitted), ["call.ring", "call.updated", "call.updated"]);
    for (event, state) in emitted.iter().zip(["ringing", "queued", "ringing"]) {
        assert_eq!(event["dialpad_state"], state, "{event:#}");
    }
    emitted[1].shows(json!({"changed": ["dialpad_state"]}));
    server.call(&app, 1).await.shows(json!({"dialpad_state": "ringing"}));

    tell(&server, &app, 1, [call.answered_state("connected", 9), call.state("queued", 5)]).await;
    server.call(&app, 1).await.shows(json!({"dialpad_state": "connected"}));
    tell(&server, &app, 2, [Call::new(2).ring(0)]).await;
    server.call(&app, 2).await.shows(json!({"dialpad_state": null}));
}

async fn lengths_are_rounded_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let lengths =
        [(2_499.99, 2), (64_499.6, 64), (499.7, 0), (499.999_9, 0), (500.0, 1), (1_500.0, 2), (8_951.03, 9)];
    for (id, (reported, shown)) in (1..).zip(lengths) {
        let call = Call::new(id);
        let hangup = over(call.answered_state("hangup", 100), 100).with("total_duration", reported);
        let hangup = hangup.with("talk_time", reported).with("hold_time", reported);
        tell(&server, &app, id, [open(call.answered_state("connected", 3)), hangup]).await;
        server.call(&app, id).await.shows(json!({
            "duration_seconds": shown, "talk_seconds": shown, "hold_seconds": shown,
        }));
    }
}

async fn the_transcript_of_a_conversation_is_no_voicemail(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(1);
    let later = |state: &str, at| over(call.answered_state(state, at), 60).with("talk_time", 57_000);
    let emitted = tell(
        &server,
        &app,
        1,
        [
            call.state("ringing", 0),
            open(call.answered_state("connected", 3)),
            later("hangup", 60),
            later("transcription", 90).with("transcription_text", "Hello? Yes, this is Ada."),
        ],
    )
    .await;
    assert_eq!(kinds(&emitted), ["call.ring", "call.started", "call.ended", "call.raw"]);
    server
        .call(&app, 1)
        .await
        .shows(json!({"outcome": "answered", "is_voicemail": false, "voicemail": null}));
}

async fn the_talk_of_a_main_line_has_neither_menu_nor_queue(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let main_line = |state: &str, at| open(target(Call::new(1).state(state, at), "office"));
    let agent =
        |state: &str, at| open(Call::new(2).of_user(701).state(state, at).with("entry_point_call_id", 1));
    tell(
        &server,
        &app,
        1,
        [
            main_line("preanswer", 0),
            main_line("connected", 2).with("date_connected", ms(2)),
            agent("ringing", 20),
            agent("connected", 32).with("date_connected", ms(32)),
            over(agent("hangup", 148), 148).with("date_connected", ms(32)).with("talk_time", 116_000),
            over(main_line("hangup", 148), 148).with("date_connected", ms(2)).with("talk_time", 146_000),
        ],
    )
    .await;
    server.call(&app, 1).await.shows(json!({
        "outcome": "answered", "answered_at": "2024-01-01T12:00:32Z", "talk_seconds": 116,
    }));
}

async fn every_phone_that_lost_the_race_says_so_at_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let agent = |id: i64, state: &str, at| {
        open(Call::new(id).of_user(700 + id).state(state, at).with("entry_point_call_id", 1))
    };
    let mut states = vec![target(open(Call::new(1).state("queued", 0)), "call_center")];
    states.extend((2..=7).map(|id| agent(id, "ringing", 5)));
    states.push(agent(2, "connected", 12).with("date_connected", ms(12)));
    states.extend((3..=7).map(|id| over(agent(id, "hangup", 13), 13)));
    server.webhooks(&app, &states).await;
    let emitted = server.feed_once_processed(&app, 1_000).await;
    for loser in 3..=7 {
        let of_loser = of_call(&emitted, loser);
        assert_eq!(kinds(&of_loser), ["call.ring", "call.ended"], "leg {loser}");
        of_loser[1].shows(json!({"outcome": "missed", "answered_elsewhere": true}));
    }
}

async fn a_state_of_an_unknown_call_names_no_interaction(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(1);
    let emitted = tell(&server, &app, 1, [call.state("csat", 5)]).await;
    emitted[0].shows(json!({"type": "call.raw", "interaction_id": null, "status": null}));
    server.get("/api/calls/1").by(&app).answer().await.refuses(404, "CALL_NOT_FOUND");

    let emitted = tell(&server, &app, 1, [call.state("ringing", 0), call.state("csat", 6)]).await;
    assert_eq!(kinds(&emitted), ["call.raw", "call.ring", "call.raw"]);
    let id = emitted[2]["interaction_id"].as_str().expect("it is known by now");
    server.get(&format!("/api/interactions/{id}")).by(&app).answer().await.ok();
}
