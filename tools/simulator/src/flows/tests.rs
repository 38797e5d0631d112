use super::playback::PlayedStep;
use super::*;

fn options() -> FlowOptions {
    FlowOptions {
        start: "2024-01-01T12:00:00Z".parse().expect("a time"),
        organization_id: None,
        media_base: "https://dialpad.example".to_owned(),
        time_scale: 1.0,
        overrides: Overrides::default(),
    }
}

fn play(flow: Flow, family: Family) -> Vec<ScheduledWebhook> {
    webhooks(flow, family, 7, &options())
}

fn expected_events(flow: Flow, family: Family) -> Vec<&'static str> {
    play(flow, family).iter().filter_map(|webhook| webhook.expected_event).map(EventType::name).collect()
}

#[test]
fn the_same_seed_and_start_give_the_same_webhooks() {
    for &flow in Flow::ALL {
        for family in [Family::Dialpad, Family::Workflow] {
            assert_eq!(webhooks(flow, family, 3, &options()), webhooks(flow, family, 3, &options()));
            assert_ne!(webhooks(flow, family, 3, &options()), webhooks(flow, family, 4, &options()));
        }
    }
}

#[test]
fn another_start_is_another_call_of_the_same_length() {
    let mut later = options();
    later.start += Duration::from_millis(1);
    let (first, second) =
        (play(Flow::Hold, Family::Dialpad), webhooks(Flow::Hold, Family::Dialpad, 7, &later));
    assert_ne!(first[0].payload["call_id"], second[0].payload["call_id"]);
    assert!(first.iter().map(|webhook| webhook.after).eq(second.iter().map(|webhook| webhook.after)));
}

/// Returns the expected events of each leg, in the order in which the legs start.
fn expected_events_by_leg(flow: Flow, family: Family) -> Vec<Vec<&'static str>> {
    let mut legs: Vec<(Value, Vec<&'static str>)> = Vec::new();
    for webhook in play(flow, family) {
        let id = webhook.payload["call_id"].clone();
        let index = legs.iter().position(|(leg, _)| *leg == id).unwrap_or_else(|| {
            legs.push((id, Vec::new()));
            legs.len() - 1
        });
        legs[index].1.extend(webhook.expected_event.map(EventType::name));
    }
    legs.into_iter().map(|(_, events)| events).collect()
}

/// Returns Dialpad's states of each leg, in the same order.
fn states_by_leg(flow: Flow) -> Vec<String> {
    let mut legs: Vec<(Value, String)> = Vec::new();
    for webhook in play(flow, Family::Dialpad) {
        let state = webhook.payload["state"].as_str().expect("a state");
        match legs.iter_mut().find(|(leg, _)| *leg == webhook.payload["call_id"]) {
            Some((_, states)) => *states += &format!(" {state}"),
            None => legs.push((webhook.payload["call_id"].clone(), state.to_owned())),
        }
    }
    legs.into_iter().map(|(_, states)| states).collect()
}

#[test]
fn every_flow_expects_the_events_of_the_table() {
    use Family::{Dialpad, Workflow};
    const PLAIN: [&str; 3] = ["call.ring", "call.started", "call.ended"];
    const HELD: [&str; 5] = ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"];
    let both = |flow: Flow, expected: &[&[&str]]| {
        for family in [Dialpad, Workflow] {
            assert_eq!(expected_events_by_leg(flow, family), expected, "{flow} {family:?}");
        }
    };
    both(Flow::Answered, &[&PLAIN]);
    both(Flow::Missed, &[&["call.ring", "call.ended"]]);
    both(Flow::Hold, &[&HELD]);
    both(Flow::Park, &[&HELD]);
    both(Flow::Outbound, &[&PLAIN]);
    both(Flow::Queue, &[&PLAIN, &PLAIN, &["call.ring", "call.ended"], &PLAIN]);
    const UNANSWERED: [&str; 2] = ["call.ring", "call.ended"];
    both(Flow::Abandoned, &[&UNANSWERED, &UNANSWERED, &UNANSWERED]);
    both(Flow::Blocked, &[&["call.ended"]]);
    both(Flow::Unanswered, &[&UNANSWERED]);
    both(Flow::Transfer, &[&PLAIN, &PLAIN]);
    let put_on_hold = ["call.ring", "call.started", "call.held", "call.ended"];
    both(Flow::WarmTransfer, &[&put_on_hold, &PLAIN, &["call.started", "call.ended"]]);
    both(Flow::Merge, &[&HELD, &["call.ring", "call.started", "call.raw", "call.ended"]]);
    for family in [Dialpad, Workflow] {
        assert_eq!(
            expected_events(Flow::Message, family),
            ["message.received", "message.sent", "message.updated"]
        );
    }
    let voicemail = ["call.ring", "call.ended", "voicemail.received", "voicemail.updated"];
    assert_eq!(expected_events(Flow::Voicemail, Dialpad), voicemail);
    assert_eq!(expected_events(Flow::Voicemail, Workflow), voicemail[..3]);
    for (family, count) in [(Dialpad, 4), (Workflow, 3)] {
        let legs = expected_events_by_leg(Flow::QueueVoicemail, family);
        assert_eq!(legs, [&UNANSWERED[..], &voicemail[..count], &UNANSWERED], "{family:?}");
    }
}

#[test]
fn dialpads_states_come_in_the_order_of_the_table() {
    for (flow, expected) in [
        (Flow::Answered, &["ringing connected hangup recording"][..]),
        (Flow::Missed, &["ringing missed hangup"]),
        (Flow::Voicemail, &["ringing missed voicemail hangup voicemail_uploaded transcription"]),
        (Flow::Hold, &["ringing connected hold connected hangup recording"]),
        (Flow::Park, &["ringing connected parked connected hangup"]),
        (Flow::Outbound, &["calling connected hangup"]),
        (
            Flow::Queue,
            &[
                "preanswer connected connected hangup",
                "preanswer queued connected hangup",
                "ringing missed hangup",
                "ringing connected hangup recording",
            ],
        ),
        (
            Flow::Abandoned,
            &["preanswer connected hangup", "preanswer queued hangup", "ringing missed hangup"],
        ),
        (
            Flow::QueueVoicemail,
            &[
                "preanswer connected hangup",
                "preanswer queued voicemail hangup voicemail_uploaded transcription",
                "ringing missed hangup",
            ],
        ),
        (Flow::Blocked, &["blocked hangup"]),
        (Flow::Unanswered, &["calling hangup"]),
        (Flow::Transfer, &["ringing connected hangup", "ringing connected hangup recording"]),
        (
            Flow::WarmTransfer,
            &["ringing connected hold hangup", "calling connected hangup", "connected hangup"],
        ),
        (Flow::Merge, &["ringing connected hold connected hangup", "calling connected merged hangup"]),
    ] {
        assert_eq!(states_by_leg(flow), expected, "{flow}");
    }
}

#[test]
fn the_legs_of_a_queue_reference_each_other_as_dialpads_do() {
    let webhooks = play(Flow::Queue, Family::Dialpad);
    let last = |target: &str| {
        let of_target = |webhook: &&ScheduledWebhook| webhook.payload["target"]["type"] == target;
        webhooks.iter().rev().find(of_target).expect("a leg").payload.clone()
    };
    let (main_line, centre, operator) = (last("office"), last("call_center"), last("user"));
    assert_eq!((&main_line["master_call_id"], &main_line["operator_call_id"]), (&Value::Null, &Value::Null));
    assert_eq!(centre["master_call_id"], main_line["call_id"]);
    assert_eq!(centre["operator_call_id"], operator["call_id"]);
    assert_eq!(operator["entry_point_call_id"], centre["call_id"]);
    assert!(main_line["is_transferred"] == true && centre["date_queued"].is_i64());
    let menu = &webhooks[1].payload;
    assert_eq!((&menu["state"], &menu["target"]["type"]), (&"connected".into(), &"office".into()));
    let waiting = webhooks.iter().find(|webhook| webhook.payload["state"] == "queued").expect("a queue");
    assert_eq!(waiting.payload["operator_call_id"], Value::Null, "the agent is not known yet");
}

#[test]
fn a_transfer_names_the_user_who_transferred() {
    for flow in [Flow::Transfer, Flow::WarmTransfer] {
        let webhooks = play(flow, Family::Dialpad);
        let (first, last) = (&webhooks[0].payload, &webhooks.last().expect("webhooks").payload);
        assert_eq!(last["transferred_from"]["id"], first["target"]["id"], "{flow}");
        assert_eq!(last["external_number"], first["external_number"]);
        assert!(last["call_id"] != first["call_id"] && last["target"]["id"] != first["target"]["id"]);
        let of_first = |webhook: &&ScheduledWebhook| webhook.payload["call_id"] == first["call_id"];
        let end = webhooks.iter().rev().find(of_first).expect("an end");
        assert_eq!(end.payload["is_transferred"], true);
    }
}

#[test]
fn a_transfer_of_the_workflow_family_names_the_leg_that_it_continues() {
    for flow in [Flow::Transfer, Flow::WarmTransfer] {
        let webhooks = play(flow, Family::Workflow);
        let first = &webhooks[0].payload["call_id"];
        let successor = webhooks.iter().rfind(|webhook| webhook.payload["event_type"] == "call.ended");
        let successor = &successor.expect("an end").payload;
        assert_eq!((&successor["master_call_id"], successor["call_id"] == *first), (first, false), "{flow}");
    }
}

#[test]
fn hanging_up_ends_every_live_leg_and_starts_none() {
    let mut queue = Playback::new(Flow::Queue, Family::Dialpad, 7, options());
    let state = |played: &PlayedStep| played.webhook.as_ref().expect("a webhook").payload["state"].clone();
    while queue.next().is_some_and(|played| state(&played) != "queued") {}
    assert!(queue.apply(Command::HangUp, options().start));
    let rest: Vec<Value> = queue.by_ref().map(|played| state(&played)).collect();
    assert_eq!(rest, ["hangup", "hangup"]);
    assert!(!queue.apply(Command::HangUp, options().start), "nothing is left to end");
}

#[test]
fn event_times_follow_the_delays() {
    for &flow in Flow::ALL {
        let mut at = options().start;
        for webhook in play(flow, Family::Dialpad) {
            at += webhook.after;
            assert_eq!(webhook.payload["event_timestamp"], at.timestamp_millis(), "{flow}");
        }
    }
}

#[test]
fn the_hangup_carries_the_actual_durations() {
    let webhooks = play(Flow::Hold, Family::Dialpad);
    let millis = |index: usize| i64::try_from(webhooks[index].after.as_millis()).expect("short");
    let (talk, hold, rest) = (millis(2), millis(3), millis(4));
    let hangup = &webhooks[4].payload;
    assert_eq!(hangup["hold_time"], hold);
    assert_eq!(hangup["talk_time"], talk + rest);
    let duration = hangup["duration"].as_f64().expect("a float");
    assert_eq!(duration.trunc(), (talk + hold + rest) as f64);
    assert!(webhooks[0].payload["duration"].is_null() && webhooks[0].payload["date_connected"].is_null());
}

#[test]
fn an_outbound_call_goes_from_the_user_to_the_customer() {
    let mut mine = options();
    mine.overrides = Overrides {
        call_id: Some(9_876_543_210),
        external_number: Some("+14155551234".to_owned()),
        internal_number: Some("+14155555678".to_owned()),
        user_id: Some(555),
        custom_data: None,
    };
    let call = &webhooks(Flow::Outbound, Family::Workflow, 1, &mine)[0].payload;
    assert_eq!(call["call_id"], 9_876_543_210_i64);
    assert_eq!((&call["from_number"], &call["to_number"]), (&"+14155555678".into(), &"+14155551234".into()));
    assert_eq!((&call["dialpad_user_id"], &call["direction"]), (&555.into(), &"outbound".into()));
}

#[test]
fn only_the_workflow_family_names_the_organization_by_default() {
    let mut named = options();
    named.organization_id = Some(12_345_678);
    assert_eq!(
        webhooks(Flow::Answered, Family::Workflow, 1, &named)[0].payload["organization_id"],
        12_345_678
    );
    assert_eq!(webhooks(Flow::Answered, Family::Dialpad, 1, &named)[0].payload["company_id"], 12_345_678);
    assert_eq!(play(Flow::Answered, Family::Dialpad)[0].payload.get("company_id"), None);
}

#[test]
fn a_flow_that_is_played_faster_ends_now() {
    let now = options().start;
    let minute = Duration::from_secs(60);
    assert_eq!(start_for(now, minute, 0.0), now - minute);
    assert_eq!(start_for(now, minute, 1.0), now);
    assert_eq!(start_for(now, minute, 3.0), now);
}
