//! The exact JSON text of one event of each type, as it is delivered.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    Engine, Tuning,
    clock::Clock,
    event::{ConnectionEvent, Filter, Frame, NumberFilter, connection_event, interaction_event},
    id::{AppId, DialpadCallId, Seq, VoicemailId},
    model::{
        call::{
            CALL_RECORDING, CallEvent, Direction, EndKind, Knowledge, Leg, Origin, RawMeaning,
            RecordingKnowledge, Signal, StoredCall,
        },
        interaction::{InteractionChange, LegShown, Summary},
        message::{MessageEvent, MessageKnowledge},
        number::Region,
    },
    ports::Inbound,
    testing::MemoryStore,
};
use serde_json::{Value, json};
use uuid::Uuid;

const APP: AppId = AppId(Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0000));

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

/// The text with our own ids, which are new each time, replaced by their names.
fn without_own_ids(text: &str) -> String {
    let event: Value = serde_json::from_str(text).expect("an event is JSON");
    let names = ["event_id", "interaction_id", "message_id", "voicemail_id"];
    names.into_iter().filter_map(|name| Some((name, event[name].as_str()?))).fold(
        text.to_owned(),
        |text, (name, id)| {
            assert!(id.parse::<Uuid>().is_ok(), "{name} is {id}");
            text.replace(id, name)
        },
    )
}

/// The events that these webhooks cause, where Dialpad user 555 is a CRM user.
async fn delivered(webhooks: Vec<Inbound>) -> Vec<String> {
    let (store, clock, ports) = MemoryStore::ports();
    let tuning = Tuning { sweep_interval: Duration::from_secs(3600), ..Tuning::default() };
    let engine = Engine::start(ports, tuning);
    store.map_user(APP, 555, "agent \"7\"");
    engine
        .push(APP, webhooks.into_iter().map(|webhook| store.append(APP, clock.now(), Ok(webhook))).collect());
    let processed = async {
        while store.pending_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), processed).await.expect("every webhook is processed");
    engine.stop().await;
    store.events(APP).iter().map(|frame| without_own_ids(&frame.text)).collect()
}

fn webhook(second: i64, signal: Signal, knowledge: Knowledge, origin: Origin) -> Inbound {
    let dialpad_call_id = DialpadCallId(9_876_543_210);
    Inbound::Call(CallEvent { dialpad_call_id, at: at(second), signal, knowledge, origin })
}

fn parties() -> Knowledge {
    Knowledge {
        direction: Some(Direction::Inbound),
        from_number: Some("+14155551234".into()),
        to_number: Some("+14155555678".into()),
        dialpad_user_id: Some(555),
        contact_name: Some("Grace".into()),
        target_id: Some(777),
        target_name: Some("Sales".into()),
        is_internal: Some(false),
        custom_data: Some(r#"{"order":[7,"x"]}"#.into()),
        leg: Some(Leg::Direct),
        ..Knowledge::default()
    }
}

/// What every event of the call has, up to its status.
fn call_head(event_type: &str, seq: i64) -> String {
    format!(
        concat!(
            r#"{{"type":"{}","seq":{},"event_id":"event_id","app_id":"550e8400-e29b-41d4-a716-446655440000","#,
            r#""call_id":9876543210,"dialpad_call_id":9876543210,"interaction_id":"interaction_id","#,
            r#""leg":"direct","direction":"inbound","from_number":"+14155551234","#,
            r#""to_number":"+14155555678","from_e164":"+14155551234","to_e164":"+14155555678","#,
            r#""contact_name":"Grace","target_id":777,"target_name":"Sales","is_internal":false,"#,
            r#""callback_requested":null,"custom_data":{{"order":[7,"x"]}},"#,
            r#""dialpad_user_id":555,"crm_user_id":"agent \"7\"","#
        ),
        event_type, seq
    )
}

#[actix::test]
async fn events_of_a_call_keep_their_text() {
    let part = RecordingKnowledge {
        id: Some("77".into()),
        url: Some("https://dialpad.com/r/1".into()),
        kind: CALL_RECORDING.into(),
        duration_ms: Some(61_400.into()),
        started_at: Some(at(3)),
        position: 0,
    };
    let recording = Knowledge { recording_url: part.url.clone(), recordings: vec![part], ..parties() };
    let voicemail = Knowledge {
        voicemail_id: Some("vm_1".into()),
        voicemail_url: Some("https://dialpad.com/v/1".into()),
        voicemail_duration_ms: Some(27_500.into()),
        ..parties()
    };
    let transcript = Knowledge { voicemail_transcript: Some("Line 1\nLine 2".into()), ..parties() };
    let raw = Signal::Raw {
        state: "barged".into(),
        payload: Box::new(json!({"b": 1, "a": [null, "x"]})),
        meaning: RawMeaning::Nothing,
    };
    let texts = delivered(vec![
        webhook(0, Signal::Ringing, parties(), Origin::Webhook),
        webhook(3, Signal::Connected, parties(), Origin::Webhook),
        webhook(45, Signal::Held, parties(), Origin::Webhook),
        webhook(50, Signal::Resumed, parties(), Origin::Webhook),
        webhook(60, raw, Knowledge::default(), Origin::Webhook),
        webhook(180, Signal::Ended(EndKind::Hangup), parties(), Origin::Repair),
        webhook(190, Signal::Learned, recording, Origin::Presumption),
        webhook(195, Signal::VoicemailLeft, voicemail, Origin::Webhook),
        webhook(200, Signal::Learned, transcript, Origin::Webhook),
    ])
    .await;
    let ended = concat!(
        r#""ended_at":"2024-01-01T00:03:00Z","duration_seconds":180,"talk_seconds":172,"hold_seconds":5,"#,
        r#""recording_url":"#
    );
    let part = concat!(
        r#"{"id":77,"url":"https://dialpad.com/r/1","type":"callrecording","duration_seconds":61,"#,
        r#""started_at":"2024-01-01T00:00:03Z"}"#
    );
    let expected = [
        ("call.ring", r#""status":"ringing","dialpad_state":null,"ringing_at":"2024-01-01T00:00:00Z","timestamp":1704067200}"#.into()),
        (
            "call.started",
            r#""status":"active","dialpad_state":null,"started_at":"2024-01-01T00:00:03Z","recording_url":null,"timestamp":1704067203}"#
                .into(),
        ),
        ("call.held", r#""status":"held","dialpad_state":null,"held_at":"2024-01-01T00:00:45Z","timestamp":1704067245}"#.into()),
        ("call.resumed", r#""status":"active","dialpad_state":null,"resumed_at":"2024-01-01T00:00:50Z","timestamp":1704067250}"#.into()),
        (
            "call.raw",
            r#""status":"active","dialpad_state":null,"state":"barged","payload":{"a":[null,"x"],"b":1},"timestamp":1704067260}"#.into(),
        ),
        (
            "call.ended",
            format!(
                r#""status":"ended","dialpad_state":null,{ended}null,"recordings":[],"outcome":"answered","answered_elsewhere":false,"source":"repaired","timestamp":1704067380}}"#
            ),
        ),
        (
            "call.updated",
            format!(
                r#""status":"ended","dialpad_state":null,"changed":["recording_url"],"ringing_at":"2024-01-01T00:00:00Z","started_at":"2024-01-01T00:00:03Z",{ended}"https://dialpad.com/r/1","recordings":[{part}],"outcome":"answered","answered_elsewhere":false,"inferred":true,"timestamp":1704067390}}"#
            ),
        ),
        (
            "call.updated",
            format!(
                r#""status":"ended","dialpad_state":null,"changed":["is_voicemail"],"ringing_at":"2024-01-01T00:00:00Z","started_at":"2024-01-01T00:00:03Z",{ended}"https://dialpad.com/r/1","recordings":[{part}],"outcome":"answered","answered_elsewhere":false,"timestamp":1704067395}}"#
            ),
        ),
        (
            "voicemail.received",
            r#""status":"ended","dialpad_state":null,"voicemail_id":"voicemail_id","dialpad_voicemail_id":"vm_1","recording_url":"https://dialpad.com/v/1","transcript":null,"duration_seconds":28,"timestamp":1704067395}"#
                .into(),
        ),
        (
            "voicemail.updated",
            r#""status":"ended","dialpad_state":null,"voicemail_id":"voicemail_id","dialpad_voicemail_id":"vm_1","recording_url":"https://dialpad.com/v/1","transcript":"Line 1\nLine 2","duration_seconds":28,"timestamp":1704067400}"#
                .into(),
        ),
    ];
    let expected: Vec<String> = (1..)
        .zip(expected)
        .map(|(seq, (event_type, rest)): (_, (_, String))| call_head(event_type, seq) + &rest)
        .collect();
    assert_eq!(texts, expected);
}

#[actix::test]
async fn an_event_of_a_call_of_which_nothing_is_known_keeps_its_text() {
    let raw = Signal::Raw { state: "odd".into(), payload: Box::new(json!({})), meaning: RawMeaning::Nothing };
    let texts = delivered(vec![webhook(0, raw, Knowledge::default(), Origin::Webhook)]).await;
    let expected = concat!(
        r#"{"type":"call.raw","seq":1,"event_id":"event_id","app_id":"550e8400-e29b-41d4-a716-446655440000","#,
        r#""call_id":9876543210,"dialpad_call_id":9876543210,"interaction_id":null,"leg":null,"#,
        r#""direction":null,"from_number":null,"to_number":null,"from_e164":null,"to_e164":null,"#,
        r#""contact_name":null,"target_id":null,"target_name":null,"is_internal":null,"#,
        r#""callback_requested":null,"custom_data":null,"dialpad_user_id":null,"crm_user_id":null,"#,
        r#""status":null,"dialpad_state":null,"state":"odd","payload":{},"timestamp":1704067200}"#
    );
    assert_eq!(texts, [expected]);
}

#[test]
fn events_of_an_interaction_keep_their_text() {
    let mut call = StoredCall::unseen(DialpadCallId(9_876_543_210), at(0));
    let recording = Knowledge { recording_url: Some("https://dialpad.com/r/1".into()), ..parties() };
    let voicemail = Knowledge {
        voicemail_id: Some("7".into()),
        voicemail_url: Some("https://dialpad.com/v/1".into()),
        voicemail_duration_ms: Some(27_500.into()),
        ..parties()
    };
    for (second, signal, knowledge) in [
        (0, Signal::Ringing, parties()),
        (3, Signal::Connected, recording),
        (180, Signal::Ended(EndKind::Hangup), parties()),
        (190, Signal::VoicemailLeft, voicemail),
    ] {
        let (dialpad_call_id, origin) = (call.dialpad_call_id, Origin::Webhook);
        call.facts.absorb(&CallEvent { dialpad_call_id, at: at(second), signal, knowledge, origin });
    }
    call.voicemail_id = Some(VoicemailId::generate());
    let shown = LegShown::of(&call, &call.facts.snapshot());
    let summary = Summary::of(&[shown]).expect("it has a leg");
    let changed = InteractionChange::Updated(vec!["recordings"]);
    for (change, event_type, end) in [
        (InteractionChange::Ended, "interaction.ended", ""),
        (changed, "interaction.updated", r#""changed":["recordings"],"#),
    ] {
        let mut event = interaction_event(APP, call.interaction_id, &summary, &change, at(180));
        event.set_crm_user_id("agent \"7\"");
        let frame = Frame::new(Seq(7), &event);
        let expected = format!(
            concat!(
                r#"{{"type":"{}","seq":7,"event_id":"event_id","app_id":"550e8400-e29b-41d4-a716-446655440000","#,
                r#""interaction_id":"interaction_id","status":"ended","outcome":"answered","direction":"inbound","#,
                r#""external_number":"+14155551234","is_internal":false,"answered_by":555,"#,
                r#""answered_by_crm_user_id":"agent \"7\"","#,
                r#""started_at":"2024-01-01T00:00:03Z","answered_at":"2024-01-01T00:00:03Z","#,
                r#""ended_at":"2024-01-01T00:03:00Z","duration_seconds":180,"talk_seconds":177,"hold_seconds":0,"#,
                r#""voicemail":{{"voicemail_id":"voicemail","dialpad_voicemail_id":7,"#,
                r#""recording_url":"https://dialpad.com/v/1","transcript":null,"duration_seconds":28,"#,
                r#""received_at":"2024-01-01T00:03:10Z"}},"#,
                r#""recordings":[{{"call_id":9876543210,"id":null,"url":"https://dialpad.com/r/1","#,
                r#""type":"callrecording","duration_seconds":null,"started_at":null}}],"calls":[9876543210],"#,
                r#"{}"timestamp":1704067380}}"#
            ),
            event_type, end
        );
        let voicemail = call.voicemail_id.expect("it has one").to_string();
        assert_eq!(without_own_ids(&frame.text).replace(&voicemail, "voicemail"), expected);
        let stored = Frame::stored(Seq(7), event_type, Some(555), &event.stored_body()).expect("an object");
        assert_eq!(stored, frame);
        let as_text = frame.text_with_text_ids();
        for id in [
            r#""answered_by":"555""#,
            r#""calls":["9876543210"]"#,
            r#""call_id":"9876543210""#,
            r#""dialpad_voicemail_id":"7""#,
        ] {
            assert!(as_text.contains(id), "{id} in {as_text}");
        }
        for matching in [
            Filter { number: wanted("+14155551234"), ..Filter::default() },
            Filter { from: wanted("+14155551234"), dialpad_user_id: Some(555), ..Filter::default() },
            Filter { crm_user_id: Some("agent \"7\"".into()), ..Filter::default() },
        ] {
            assert!(matching.admits(&frame) && matching.admits(&stored), "{matching:?}");
        }
        assert!(!Filter { to: wanted("+14155551234"), ..Filter::default() }.admits(&stored));
    }
}

fn wanted(number: &str) -> Option<NumberFilter> {
    Some(NumberFilter::new(number, Region::default()))
}

fn message(id: &str, second: i64, direction: Direction, status: &str, mms: Option<&str>) -> Inbound {
    Inbound::Message(MessageEvent {
        dialpad_message_id: id.into(),
        at: at(second),
        knowledge: MessageKnowledge {
            direction: Some(direction),
            from_number: Some("+14155555678".into()),
            to_number: Some("+14155551234,+14155550002".into()),
            text: Some("Yes, \"at\" 3 \u{1f44d}".into()),
            mms_url: mms.map(str::to_owned),
            media_urls: mms.into_iter().map(str::to_owned).collect(),
            delivery_result: (status == "delivered").then(|| "accepted".to_owned()),
            status: Some(status.into()),
            dialpad_user_id: Some(555),
            sent_at: None,
        },
    })
}

#[actix::test]
async fn events_of_a_message_keep_their_text() {
    let texts = delivered(vec![
        message("sms_1", 0, Direction::Inbound, "received", Some("https://dialpad.com/m/1")),
        message("6095823680520192", 10, Direction::Outbound, "pending", None),
        message("6095823680520192", 12, Direction::Outbound, "delivered", None),
    ])
    .await;
    let expected = |event_type: &str, seq: i64, id: &str, direction: &str, rest: &str| {
        format!(
            concat!(
                r#"{{"type":"{}","seq":{},"event_id":"event_id","app_id":"550e8400-e29b-41d4-a716-446655440000","#,
                r#""message_id":"message_id","dialpad_message_id":{},"direction":"{}","#,
                r#""from_number":"+14155555678","to_number":"+14155551234,+14155550002","#,
                r#""to_numbers":["+14155551234","+14155550002"],"from_e164":"+14155555678","#,
                r#""to_e164":"+14155551234,+14155550002","dialpad_user_id":555,"#,
                r#""crm_user_id":"agent \"7\"","text":"Yes, \"at\" 3 {}",{}}}"#
            ),
            event_type, seq, id, direction, '\u{1f44d}', rest
        )
    };
    let received = r#""mms_url":"https://dialpad.com/m/1","media_urls":["https://dialpad.com/m/1"],"message_status":"received","message_delivery_result":null,"sent_at":"2024-01-01T00:00:00Z","timestamp":1704067200"#;
    let sent = r#""mms_url":null,"media_urls":[],"message_status":"pending","message_delivery_result":null,"sent_at":"2024-01-01T00:00:10Z","timestamp":1704067210"#;
    let updated = r#""mms_url":null,"media_urls":[],"message_status":"delivered","message_delivery_result":"accepted","sent_at":"2024-01-01T00:00:10Z","timestamp":1704067212"#;
    assert_eq!(
        texts,
        [
            expected("message.received", 1, "\"sms_1\"", "inbound", received),
            expected("message.sent", 2, "6095823680520192", "outbound", sent),
            expected("message.updated", 3, "6095823680520192", "outbound", updated),
        ]
    );
}

#[test]
fn events_of_a_connection_keep_their_text() {
    let changes = [
        (ConnectionEvent::Connected, "connection.connected", ""),
        (
            ConnectionEvent::Degraded { reason: "Dialpad answered 503" },
            "connection.degraded",
            r#","code":"TOKEN_REFRESH_FAILED","reason":"Dialpad answered 503""#,
        ),
        (ConnectionEvent::Recovered, "connection.recovered", ""),
        (ConnectionEvent::Expired, "connection.expired", r#","code":"TOKENS_EXPIRED""#),
        (ConnectionEvent::Disconnected, "connection.disconnected", ""),
    ];
    for (change, event_type, code) in changes {
        let event = connection_event(APP, change, "sandbox", Some(12_345_678), at(3));
        let frame = Frame::new(Seq(7), &event);
        let expected = format!(
            concat!(
                r#"{{"type":"{}","seq":7,"event_id":"event_id","app_id":"550e8400-e29b-41d4-a716-446655440000","#,
                r#""environment":"sandbox","dialpad_org_id":12345678{},"timestamp":1704067203}}"#
            ),
            event_type, code
        );
        assert_eq!(without_own_ids(&frame.text), expected);
        assert_eq!(Frame::stored(Seq(7), event_type, None, &event.stored_body()), Ok(frame));
    }
    let nameless = connection_event(APP, ConnectionEvent::Connected, "production", None, at(3));
    assert!(
        nameless.stored_body().contains(r#""environment":"production","dialpad_org_id":null,"timestamp""#)
    );
}
