use super::*;

fn setting() -> Setting {
    Setting {
        start: "2024-01-01T12:00:00Z".parse().expect("a time"),
        organization_id: None,
        media_base: "https://dialpad.example".to_owned(),
        tempo: 1.0,
        overrides: Overrides::default(),
    }
}

fn play(flow: Flow, family: Family) -> Vec<Step> {
    script(flow, family, 7, &setting())
}

fn told(flow: Flow, family: Family) -> Vec<&'static str> {
    play(flow, family).iter().filter_map(|step| step.tells).collect()
}

fn words(flow: Flow, field: &str, family: Family) -> Vec<String> {
    let word = |step: &Step| step.payload[field].as_str().expect("a word").to_owned();
    play(flow, family).iter().map(word).collect()
}

#[test]
fn the_same_seed_and_start_give_the_same_steps() {
    for flow in Flow::ALL {
        for family in [Family::Dialpad, Family::Workflow] {
            assert_eq!(script(flow, family, 3, &setting()), script(flow, family, 3, &setting()));
            assert_ne!(script(flow, family, 3, &setting()), script(flow, family, 4, &setting()));
        }
    }
}

#[test]
fn another_start_is_another_call_of_the_same_length() {
    let mut later = setting();
    later.start += Duration::from_millis(1);
    let (first, second) = (play(Flow::Hold, Family::Dialpad), script(Flow::Hold, Family::Dialpad, 7, &later));
    assert_ne!(first[0].payload["call_id"], second[0].payload["call_id"]);
    assert!(first.iter().map(|step| step.after).eq(second.iter().map(|step| step.after)));
}

#[test]
fn every_flow_tells_what_the_table_says() {
    use Family::{Dialpad, Workflow};
    assert_eq!(told(Flow::Answered, Dialpad), ["call.ring", "call.started", "call.ended"]);
    assert_eq!(told(Flow::Missed, Dialpad), ["call.ring", "call.ended"]);
    assert_eq!(
        told(Flow::Voicemail, Dialpad),
        ["call.ring", "call.ended", "voicemail.received", "voicemail.updated"]
    );
    assert_eq!(
        told(Flow::Hold, Dialpad),
        ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]
    );
    assert_eq!(told(Flow::Outbound, Dialpad), ["call.ring", "call.started", "call.ended"]);
    assert_eq!(told(Flow::Message, Dialpad), ["message.received", "message.sent", "message.updated"]);
    for flow in [Flow::Answered, Flow::Missed, Flow::Hold, Flow::Outbound] {
        assert_eq!(told(flow, Workflow), told(flow, Dialpad), "{flow}");
    }
    assert_eq!(told(Flow::Voicemail, Workflow), ["call.ring", "call.ended", "voicemail.received"]);
    assert_eq!(told(Flow::Message, Workflow), ["message.received", "message.sent"]);
}

#[test]
fn dialpads_states_come_in_the_order_of_the_table() {
    let states = |flow| words(flow, "state", Family::Dialpad);
    assert_eq!(states(Flow::Answered), ["ringing", "connected", "hangup", "recording"]);
    assert_eq!(states(Flow::Missed), ["ringing", "missed", "hangup"]);
    assert_eq!(
        states(Flow::Voicemail),
        ["ringing", "missed", "voicemail", "hangup", "voicemail_uploaded", "transcription"]
    );
    assert_eq!(states(Flow::Hold), ["ringing", "connected", "hold", "connected", "hangup", "recording"]);
    assert_eq!(states(Flow::Outbound), ["calling", "connected", "hangup"]);
}

#[test]
fn event_times_move_by_the_waits() {
    for flow in Flow::ALL {
        let mut at = setting().start;
        for step in play(flow, Family::Dialpad) {
            at += step.after;
            assert_eq!(step.payload["event_timestamp"], at.timestamp_millis(), "{flow}");
        }
    }
}

#[test]
fn the_hangup_carries_the_honest_durations() {
    let steps = play(Flow::Hold, Family::Dialpad);
    let millis = |index: usize| i64::try_from(steps[index].after.as_millis()).expect("short");
    let (talk, hold, rest) = (millis(2), millis(3), millis(4));
    let hangup = &steps[4].payload;
    assert_eq!(hangup["hold_time"], hold);
    assert_eq!(hangup["talk_time"], talk + rest);
    let duration = hangup["duration"].as_f64().expect("a float");
    assert_eq!(duration.trunc(), (talk + hold + rest) as f64);
    assert!(steps[0].payload["duration"].is_null() && steps[0].payload["date_connected"].is_null());
}

#[test]
fn an_outbound_call_goes_from_the_user_to_the_customer() {
    let mut mine = setting();
    mine.overrides = Overrides {
        call_id: Some(9_876_543_210),
        external_number: Some("+14155551234".to_owned()),
        internal_number: Some("+14155555678".to_owned()),
        user_id: Some(555),
        custom_data: None,
    };
    let call = &script(Flow::Outbound, Family::Workflow, 1, &mine)[0].payload;
    assert_eq!(call["call_id"], 9_876_543_210_i64);
    assert_eq!((&call["from_number"], &call["to_number"]), (&"+14155555678".into(), &"+14155551234".into()));
    assert_eq!((&call["dialpad_user_id"], &call["direction"]), (&555.into(), &"outbound".into()));
}

#[test]
fn only_the_workflow_family_names_the_organization_unless_asked() {
    let mut named = setting();
    named.organization_id = Some(12_345_678);
    assert_eq!(script(Flow::Answered, Family::Workflow, 1, &named)[0].payload["organization_id"], 12_345_678);
    assert_eq!(script(Flow::Answered, Family::Dialpad, 1, &named)[0].payload["company_id"], 12_345_678);
    assert_eq!(play(Flow::Answered, Family::Dialpad)[0].payload.get("company_id"), None);
}

#[test]
fn a_hurried_flow_ends_now() {
    let now = setting().start;
    let minute = Duration::from_secs(60);
    assert_eq!(start_for(now, minute, 0.0), now - minute);
    assert_eq!(start_for(now, minute, 1.0), now);
    assert_eq!(start_for(now, minute, 3.0), now);
}
