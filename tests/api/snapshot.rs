//! `snapshot=true`: the active calls as of a place, and then everything behind it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{
    App, Ask, Call, EventStream, Received, Shows, Socket, TestServer, World, assert_contiguous, kinds, seqs,
};

on_both_databases![
    a_snapshot_is_the_calls_as_rest_shows_them,
    without_calls_there_is_one_complete_piece,
    what_is_emitted_goes_on_right_behind_the_snapshot,
    a_snapshot_fits_its_place_while_calls_change,
    a_poller_begins_with_the_active_calls,
    a_snapshot_is_filtered_like_events,
    many_calls_come_in_several_pieces,
    a_browser_comes_back_without_a_snapshot_once_it_has_all_of_it,
    a_snapshot_and_a_cursor_contradict_each_other,
    only_who_stays_can_have_a_snapshot,
    a_first_message_can_ask_for_a_snapshot,
];

/// What `complete` ends, put together again.
#[derive(Debug)]
struct Snapshot {
    seq: i64,
    calls: Vec<Value>,
    pieces: usize,
}

impl Snapshot {
    fn of(pieces: &[Value]) -> Self {
        let seq = pieces[0]["seq"].as_i64().expect("a place");
        let calls = pieces.iter().flat_map(|piece| {
            assert_eq!((&piece["type"], &piece["seq"]), (&json!("snapshot"), &json!(seq)), "{piece:#}");
            piece["calls"].as_array().expect("a list").clone()
        });
        Self { seq, calls: calls.collect(), pieces: pieces.len() }
    }

    async fn heard_by(socket: &mut Socket) -> Self {
        let mut pieces = Vec::new();
        while pieces.last().is_none_or(|piece: &Value| piece["complete"] == false) {
            pieces.push(socket.expect("snapshot").await);
        }
        Self::of(&pieces)
    }

    fn ids(&self) -> Vec<i64> {
        self.calls.iter().map(id_of).collect()
    }

    /// Which calls are how.
    fn state(&self) -> BTreeMap<i64, String> {
        self.calls.iter().map(|call| (id_of(call), status_of(call))).collect()
    }
}

fn id_of(call: &Value) -> i64 {
    call["dialpad_call_id"].as_i64().unwrap_or_else(|| panic!("no id: {call:#}"))
}

fn status_of(call: &Value) -> String {
    call["status"].as_str().unwrap_or_else(|| panic!("no status: {call:#}")).to_owned()
}

/// What becomes of the calls by these events.
fn follow(mut calls: BTreeMap<i64, String>, events: &[Value]) -> BTreeMap<i64, String> {
    for event in events {
        match status_of(event) {
            ended if ended == "ended" => calls.remove(&id_of(event)),
            status => calls.insert(id_of(event), status),
        };
    }
    calls
}

impl TestServer {
    /// A session that begins with a snapshot: what it says first, and the snapshot.
    async fn snapshot(&self, app: &App, query: &str) -> (Socket, Value, Snapshot) {
        let path = format!("/ws?snapshot=true{query}");
        let mut socket = self.open_socket(&path, &[("x-api-key", &app.key)]).await;
        let connected = socket.expect("connected").await;
        let snapshot = Snapshot::heard_by(&mut socket).await;
        (socket, connected, snapshot)
    }

    async fn active(&self, app: &App) -> Vec<Value> {
        self.get("/api/calls/active?limit=500").by(app).answer().await.list()
    }
}

async fn a_snapshot_is_the_calls_as_rest_shows_them(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mapping = json!({"dialpad_user_id": 777, "crm_user_id": "ada"});
    let path = format!("/internal/apps/{}/users/map", app.id);
    server.post(&path).by_admin().json(&mapping).answer().await.ok();
    let (ringing, held, over) = (Call::new(1), Call::new(2).of_user(777), Call::new(3));
    server.webhooks(&app, [&ringing.ring(0), &held.started(0), &held.held(5)]).await;
    server.webhooks(&app, &over.life()).await;
    server.wait_for_events(&app, 8).await;

    let (_, connected, snapshot) = server.snapshot(&app, "").await;
    connected.shows(json!({"seq": 8, "oldest_seq": 1}));
    assert_eq!((snapshot.seq, snapshot.pieces), (8, 1));
    let mut listed = server.active(&app).await;
    listed.reverse();
    assert_eq!(snapshot.calls, listed, "the same objects, the oldest first");
    snapshot.calls[1].shows(json!({"call_id": 2, "status": "held", "crm_user_id": "ada"}));
    let (_, _, as_text) = server.snapshot(&app, "&ids=string").await;
    as_text.calls[1].shows(json!({"call_id": "2", "dialpad_call_id": "2", "dialpad_user_id": "777"}));
}

async fn without_calls_there_is_one_complete_piece(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.subscribe(&app, "?snapshot=true").await;
    let piece = socket.expect("snapshot").await;
    assert_eq!(piece, json!({"type": "snapshot", "seq": 0, "calls": [], "complete": true}));
    let mut plain = server.subscribe(&app, "?snapshot=false").await;
    for socket in [&mut socket, &mut plain] {
        socket.expect_nothing_more(&server, &app).await;
    }
}

async fn what_is_emitted_goes_on_right_behind_the_snapshot(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    server.webhooks(&app, [&ring, &started]).await;
    server.wait_for_events(&app, 2).await;
    let (mut socket, _, snapshot) = server.snapshot(&app, "").await;
    assert_eq!(snapshot.state(), BTreeMap::from([(1, "active".to_owned())]));
    server.webhooks(&app, [&held, &resumed, &ended]).await;
    let heard = socket.events(3).await;
    assert_contiguous(&heard, snapshot.seq);
    assert_eq!(kinds(&heard), ["call.held", "call.resumed", "call.ended"]);
}

/// Calls come and go; whenever one looks, the snapshot is what the feed has made of them so far, and following it from
/// there leads to what REST shows at last.
async fn a_snapshot_fits_its_place_while_calls_change(world: World) {
    const CALLS: i64 = 80;
    const LOOKERS: usize = 4;
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let lives: Vec<Vec<Value>> = (1..=CALLS)
        .map(|id| {
            let mut life = Call::new(id).life().to_vec();
            // Some of them go on.
            life.truncate(if id % 3 == 0 { 1 + usize::try_from(id).expect("small") % 4 } else { 5 });
            life
        })
        .collect();
    let total: usize = lives.iter().map(Vec::len).sum();
    let telling = async {
        for crowd in lives.chunks(16) {
            futures_util::future::join_all(crowd.iter().map(|life| server.webhooks(&app, life))).await;
        }
    };
    let looking = async {
        let mut looks = Vec::new();
        while looks.last().is_none_or(|(seq, _)| *seq < i64::try_from(total).expect("small")) {
            let opened = (0..LOOKERS).map(|_| server.snapshot(&app, ""));
            for (socket, connected, snapshot) in futures_util::future::join_all(opened).await {
                assert_eq!(connected["seq"], snapshot.seq, "{connected:#}");
                looks.push((snapshot.seq, (snapshot.state(), socket)));
            }
        }
        looks
    };
    let ((), looks) = tokio::join!(telling, looking);
    let feed = server.wait_for_events(&app, total).await;
    let last = follow(BTreeMap::new(), &feed);
    let shown = server.active(&app).await;
    assert_eq!(last, shown.iter().map(|call| (id_of(call), status_of(call))).collect());

    assert!(looks.iter().any(|(seq, _)| (1..total).contains(&usize::try_from(*seq).expect("a place"))));
    for (place, (seq, (state, mut socket))) in looks.into_iter().enumerate() {
        let so_far = usize::try_from(seq).expect("a place");
        assert_eq!(state, follow(BTreeMap::new(), &feed[..so_far]), "as of {seq}");
        if place % 5 == 0 {
            let heard = socket.events(total - so_far).await;
            assert_contiguous(&heard, seq);
            assert_eq!(follow(state, &heard), last);
        }
    }
}

async fn a_poller_begins_with_the_active_calls(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let empty = server.get("/api/calls/active").by(&app).answer().await;
    assert_eq!((empty.list().len(), empty.header("x-cursor")), (0, Some("0")));
    let calls = 60;
    let lives: Vec<_> = (1..=calls).map(|id| Call::new(id).life()).collect();
    let telling = futures_util::future::join_all(lives.iter().map(|life| server.webhooks(&app, &life[..4])));
    let total = 4 * calls;
    let polling = async {
        let mut looks = Vec::new();
        while looks.last().is_none_or(|(seq, _)| *seq < total) {
            let answer = server.get("/api/calls/active?limit=500").by(&app).answer().await;
            let cursor: i64 = answer.header("x-cursor").expect("a cursor").parse().expect("a number");
            looks.push((cursor, answer.list()));
        }
        looks
    };
    let (_, looks) = tokio::join!(telling, polling);
    let feed = server.wait_for_events(&app, usize::try_from(total).expect("small")).await;
    for (seq, calls) in looks {
        let state: BTreeMap<_, _> = calls.iter().map(|call| (id_of(call), status_of(call))).collect();
        let so_far = usize::try_from(seq).expect("a place");
        assert_eq!(state, follow(BTreeMap::new(), &feed[..so_far]), "as of {seq}");
    }
    let page = server.get("/api/calls/active?limit=1").by(&app).answer().await;
    assert_eq!((page.list().len(), page.header("x-cursor")), (1, Some(&*total.to_string())));
    let next = server.get(&page.next_page().expect("there is more")).by(&app).answer().await;
    assert_eq!((next.list().len(), next.header("x-cursor")), (1, Some(&*total.to_string())));
}

async fn a_snapshot_is_filtered_like_events(world: World) {
    const ANNA: &str = "+14155550001";
    const OFFICE: &str = "+14155550100";
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mapping = json!({"dialpad_user_id": 777, "crm_user_id": "ada"});
    let path = format!("/internal/apps/{}/users/map", app.id);
    server.post(&path).by_admin().json(&mapping).answer().await.ok();
    server.webhook(&app, &Call::new(1).between(ANNA, OFFICE).of_user(777).ring(0)).await;
    server.webhook(&app, &Call::new(2).between(OFFICE, ANNA).outbound().of_user(888).started(0)).await;
    server.wait_for_events(&app, 2).await;
    for (wanted, expected) in [
        ("", &[1, 2][..]),
        ("&dialpad_user_id=777", &[1]),
        ("&crm_user_id=ada", &[1]),
        ("&crm_user_id=nobody", &[]),
        ("&direction=outbound", &[2]),
        ("&number=+14155550001", &[1, 2]),
        ("&from=+14155550100", &[2]),
        ("&to=+14155550100", &[1]),
        ("&types=call.ended", &[1, 2]),
        ("&types=call.*&direction=inbound", &[1]),
        ("&types=message.*,voicemail.received", &[]),
    ] {
        let (mut socket, _, snapshot) = server.snapshot(&app, wanted).await;
        assert_eq!((snapshot.seq, snapshot.ids()), (2, expected.to_vec()), "{wanted}");
        assert_eq!(snapshot.pieces, 1, "{wanted}");
        let mut stream = server.stream(&app, &format!("?snapshot=true{wanted}")).await;
        let streamed = Snapshot::of(&[stream.expect("snapshot").await]);
        assert_eq!(streamed.ids(), expected, "{wanted}");
        drop((socket.ping(b"there").await, stream));
    }
}

async fn many_calls_come_in_several_pieces(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let calls: Vec<Value> = (1..=250).map(|id| Call::new(id).ring(0)).collect();
    for crowd in calls.chunks(50) {
        futures_util::future::join_all(crowd.iter().map(|call| server.webhook(&app, call))).await;
    }
    server.wait_for_events(&app, 250).await;
    let (_, _, snapshot) = server.snapshot(&app, "").await;
    assert!(snapshot.pieces > 2, "{} pieces", snapshot.pieces);
    let mut ids = snapshot.ids();
    ids.sort_unstable();
    assert_eq!(ids, (1..=250).collect::<Vec<_>>());

    let mut stream = server.open_stream(&app, "?snapshot=true").await;
    let mut pieces = Vec::new();
    let last_id = loop {
        let part = stream.part().await.expect("the stream goes on");
        let Some(piece) = part.data else { continue };
        assert!(piece.to_string().len() <= 64 << 10, "a piece is too large");
        assert!(piece["calls"].as_array().is_none_or(|calls| calls.len() <= 100), "a piece has too many");
        if piece["complete"] == true {
            pieces.push(piece);
            break part.id;
        }
        assert_eq!(part.id, None, "a client that disconnects here has to begin again");
        pieces.push(piece);
    };
    assert_eq!(last_id, Some(250));
    assert_eq!(Snapshot::of(&pieces[1..]).calls, snapshot.calls);
}

async fn a_browser_comes_back_without_a_snapshot_once_it_has_all_of_it(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    let mut stream = server.open_stream(&app, "?snapshot=true").await;
    stream.expect("connected").await;
    assert_eq!(stream.last_id, None, "a browser that breaks off here asks for everything again");
    stream.expect("snapshot").await;
    let last = stream.last_id.expect("now it has everything");
    drop(stream);
    server.webhook(&app, &Call::new(1).started(3)).await;
    let again = server.get("/api/events/stream?snapshot=true").by(&app).header("last-event-id", last);
    let mut stream = EventStream::open(again).await;
    stream.expect("connected").await;
    stream.expect("call.started").await.shows(json!({"seq": 2}));
}

async fn a_snapshot_and_a_cursor_contradict_each_other(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for path in ["/ws", "/api/events/stream"] {
        let both = server.handshake(&format!("{path}?snapshot=true&after=0")).by(&app);
        both.answer().await.refuses_naming("snapshot");
        let neither = server.handshake(&format!("{path}?snapshot=yes")).by(&app);
        neither.answer().await.refuses_naming("snapshot");
    }
    let mut socket = server.open_socket("/ws", &[]).await;
    let both = json!({"type": "subscribe", "api_key": app.key, "snapshot": true, "after": 0});
    socket.send_text(&both.to_string()).await;
    assert_eq!(socket.receive().await, Received::Closed(Some(4400)));
}

async fn only_who_stays_can_have_a_snapshot(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for path in
        ["/api/events?snapshot=true", "/api/events?snapshot=true&wait=1", "/api/calls/active?snapshot=true"]
    {
        server.get(path).by(&app).answer().await.refuses_naming("snapshot");
    }
}

async fn a_first_message_can_ask_for_a_snapshot(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    let mut socket = server.open_socket("/ws", &[]).await;
    let subscribe = json!({"type": "subscribe", "api_key": app.key, "snapshot": true, "ids": "string"});
    socket.send_text(&subscribe.to_string()).await;
    socket.expect("connected").await;
    let snapshot = Snapshot::of(&[socket.expect("snapshot").await]);
    snapshot.calls[0].shows(json!({"call_id": "1", "status": "ringing"}));
    server.webhook(&app, &Call::new(1).started(3)).await;
    assert_eq!(seqs(&socket.events(1).await), [2]);
}
