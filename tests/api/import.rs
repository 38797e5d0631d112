//! `cti-server import`: the predecessor's database, taken over.

use cti_actors::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use crate::support::{App, Ask, Call, NOON, Shows, TestServer, With, World, fresh_database, kinds};

on_both_databases![
    what_the_predecessor_had_is_answered_by_the_api,
    a_voicemail_is_taken_with_and_without_its_call,
    a_webhook_continues_an_imported_call,
    webhooks_that_were_not_processed_are_processed_at_the_start,
    rows_that_do_not_fit_are_named_and_the_others_are_taken,
    a_second_import_changes_nothing,
    a_dry_run_reports_the_same_and_writes_nothing,
    an_app_whose_key_or_tokens_cannot_be_used_is_named,
];

on_sqlite![what_cannot_be_imported_is_refused, tables_and_columns_may_be_missing];

/// The predecessor's tables.
const TABLES: &str = "
CREATE TABLE apps (id UUID PRIMARY KEY, name TEXT NOT NULL, api_key TEXT UNIQUE, is_active BOOLEAN DEFAULT true,
    api_key_rotated_at TIMESTAMP, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now());
CREATE TABLE dialpad_connections (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), app_id UUID NOT NULL REFERENCES apps(id),
    dialpad_org_id BIGINT, access_token TEXT NOT NULL, refresh_token TEXT NOT NULL, token_expires_at TIMESTAMP NOT NULL,
    environment TEXT, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now());
CREATE TABLE api_key_audit_log (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), app_id UUID NOT NULL REFERENCES apps(id),
    action TEXT NOT NULL, old_key_hint TEXT, new_key_hint TEXT, performed_at TIMESTAMP DEFAULT now(),
    created_at TIMESTAMP DEFAULT now());
CREATE TABLE dialpad_user_mappings (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), app_id UUID NOT NULL REFERENCES apps(id),
    dialpad_user_id BIGINT NOT NULL, crm_user_id TEXT NOT NULL, created_at TIMESTAMP DEFAULT now(),
    updated_at TIMESTAMP DEFAULT now());
CREATE TABLE dialpad_users (id UUID PRIMARY KEY, dialpad_user_id BIGINT);
CREATE TABLE calls (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), app_id UUID, dialpad_call_id NUMERIC, direction TEXT,
    from_number TEXT, to_number TEXT, status TEXT, dialpad_user_id BIGINT, started_at TIMESTAMP, ended_at TIMESTAMP,
    duration_seconds INTEGER, recording_url TEXT, is_voicemail BOOLEAN DEFAULT false, voicemail_audio_url TEXT,
    voicemail_transcript TEXT, raw_payload JSONB, created_at TIMESTAMP DEFAULT now());
CREATE TABLE messages (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), app_id UUID NOT NULL REFERENCES apps(id),
    dialpad_message_id BIGINT NOT NULL, direction TEXT, from_number TEXT, to_number TEXT, text TEXT, dialpad_user_id BIGINT,
    sent_at TIMESTAMP, created_at TIMESTAMP DEFAULT now());
CREATE TABLE voicemails (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), app_id UUID NOT NULL REFERENCES apps(id),
    dialpad_call_id BIGINT, dialpad_user_id BIGINT, from_number TEXT, to_number TEXT, recording_url TEXT, transcript TEXT,
    duration_seconds INTEGER, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now());
CREATE TABLE webhook_events (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), app_id UUID REFERENCES apps(id), event_type TEXT,
    dialpad_event_id TEXT UNIQUE, payload JSONB NOT NULL, processed_at TIMESTAMP, received_at TIMESTAMP DEFAULT now());";

const APP: &str = "550e8400-e29b-41d4-a716-446655440000";
const OTHER: &str = "650e8400-e29b-41d4-a716-446655440000";
const KEY: &str = "raw_a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const ORGANIZATION: i64 = 12_345_678;

/// The predecessor's database.
struct Predecessor {
    url: String,
}

impl Predecessor {
    /// Creates its tables with one connected app; `None` without PostgreSQL.
    async fn with(rows: &str) -> Option<Self> {
        let predecessor = Self { url: fresh_database("import").await? };
        predecessor.execute(TABLES).await;
        let app = format!(
            "INSERT INTO apps VALUES ('{APP}', 'CRM', '{KEY}', true, NULL, '2023-12-01 08:00:00', '2023-12-02 08:00:00');
             INSERT INTO dialpad_connections (app_id, dialpad_org_id, access_token, refresh_token, token_expires_at,
                 environment) VALUES ('{APP}', {ORGANIZATION}, 'access-1', 'refresh-1', now() + interval '1 day', 'sandbox');"
        );
        predecessor.execute(&app).await;
        predecessor.execute(rows).await;
        Some(predecessor)
    }

    async fn execute(&self, statements: &str) {
        let mut db = PgConnection::connect(&self.url).await.expect("the source can be reached");
        raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut db).await.expect("good statements");
    }

    /// Imports it, and returns the report.
    async fn import(&self, world: &World, flags: &[&str]) -> String {
        let args: Vec<&str> = ["import", "--from", &self.url].iter().chain(flags).copied().collect();
        let ended = world.run(&args).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    }
}

/// Returns what the report says of a table: read, taken, already there, left out.
#[track_caller]
fn counts(report: &str, table: &str) -> [u64; 4] {
    let line = report.lines().find(|line| line.split_whitespace().next() == Some(table));
    let line = line.unwrap_or_else(|| panic!("{table} is missing in\n{report}"));
    let numbers: Vec<u64> = line.split_whitespace().skip(1).filter_map(|it| it.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("no four numbers in {line}"))
}

fn app() -> App {
    App { id: APP.to_owned(), key: KEY.to_owned() }
}

/// Returns a world in which Dialpad can't be reached.
fn without_dialpad(world: World) -> World {
    world.with("AUTO_SUBSCRIBE", "false").with("DIALPAD_SANDBOX_BASE_URL", "http://127.0.0.1:1")
}

const CALLS: &str = "
INSERT INTO calls (app_id, dialpad_call_id, direction, from_number, to_number, status, dialpad_user_id, started_at, ended_at,
    duration_seconds, recording_url, created_at) VALUES
    ('550e8400-e29b-41d4-a716-446655440000', 9876543210, 'inbound', '+14155551234', '+14155555678', 'ended', 555,
     '2024-01-01 12:00:03', '2024-01-01 12:03:00', 180, 'https://dialpad.com/recordings/call123.wav', '2024-01-01 12:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', 2, 'inbound', 'anonymous', '+14155555678', 'ended', NULL,
     NULL, '2024-01-01 13:00:20', NULL, NULL, '2024-01-01 13:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', 3, 'outbound', '+14155555678', '(415) 555-1234', 'active', 555,
     now() at time zone 'utc' - interval '1 minute', NULL, NULL, NULL, now() at time zone 'utc' - interval '2 minutes');
INSERT INTO dialpad_user_mappings (app_id, dialpad_user_id, crm_user_id)
    VALUES ('550e8400-e29b-41d4-a716-446655440000', 555, 'agent-7');
INSERT INTO api_key_audit_log (app_id, action, new_key_hint)
    VALUES ('550e8400-e29b-41d4-a716-446655440000', 'created', 'raw_a1b2…8f90');
INSERT INTO messages (app_id, dialpad_message_id, direction, from_number, to_number, text, dialpad_user_id, sent_at, created_at)
    VALUES ('550e8400-e29b-41d4-a716-446655440000', 77, 'inbound', '+14155551234', '+14155555678', 'Hello', 555,
     '2024-01-01 12:00:00', '2024-01-01 12:00:05');";

async fn what_the_predecessor_had_is_answered_by_the_api(world: World) {
    let Some(predecessor) = Predecessor::with(CALLS).await else { return };
    let report = predecessor.import(&world, &[]).await;
    for (table, rows) in
        [("apps", 1), ("dialpad_connections", 1), ("calls", 3), ("messages", 1), ("dialpad_user_mappings", 1)]
    {
        assert_eq!(counts(&report, table), [rows, rows, 0, 0], "{report}");
    }
    assert!(!report.contains("to do"), "{report}");

    let server = without_dialpad(world).start().await;
    let app = app();
    server.get("/status").by(&app).answer().await.ok().shows(json!({
        "app_id": APP, "connected": true, "dialpad_org_id": ORGANIZATION, "environment": "sandbox",
    }));
    server.get(&format!("/internal/apps/{APP}")).by_admin().answer().await.ok().shows(json!({
        "name": "CRM", "is_active": true, "created_at": "2023-12-01T08:00:00Z",
    }));
    let answered = server.call(&app, 9_876_543_210_i64).await;
    answered.shows(json!({
        "status": "ended", "outcome": "answered", "direction": "inbound", "from_number": "+14155551234",
        "ringing_at": "2024-01-01T12:00:00Z", "answered_at": "2024-01-01T12:00:03Z", "ended_at": "2024-01-01T12:03:00Z",
        "duration_seconds": 180, "recording_url": "https://dialpad.com/recordings/call123.wav", "crm_user_id": "agent-7",
        "created_at": "2024-01-01T12:00:00Z", "updated_at": "2024-01-01T12:03:00Z", "from_e164": "+14155551234",
    }));
    let missed = server.call(&app, 2).await;
    missed.shows(
        json!({"status": "ended", "outcome": "missed", "from_number": "anonymous", "from_e164": null}),
    );
    let live = server.call(&app, 3).await;
    live.shows(json!({"status": "active", "outcome": null, "to_number": "(415) 555-1234", "to_e164": "+14155551234"}));
    let listed = server.get("/api/calls").by(&app).answer().await.list();
    let ids: Vec<&Value> = listed.iter().map(|call| &call["dialpad_call_id"]).collect();
    assert_eq!(ids, [&json!(3), &json!(2), &json!(9_876_543_210_i64)], "the newest first");
    let interaction = answered["interaction_id"].as_str().expect("an interaction");
    server.get(&format!("/api/interactions/{interaction}")).by(&app).answer().await.ok().shows(json!({
        "status": "ended", "outcome": "answered", "answered_by": 555, "external_number": "+14155551234",
    }));
    let messages = server.get("/api/messages").by(&app).answer().await.list();
    assert_eq!(messages.len(), 1);
    messages[0].shows(json!({
        "dialpad_message_id": 77, "text": "Hello", "direction": "inbound", "sent_at": "2024-01-01T12:00:00Z",
        "crm_user_id": "agent-7",
    }));
    assert_eq!(server.feed(&app).await, Vec::<Value>::new(), "no events for what happened before");
}

const VOICEMAILS: &str = "
INSERT INTO calls (app_id, dialpad_call_id, direction, from_number, to_number, status, ended_at, created_at) VALUES
    ('550e8400-e29b-41d4-a716-446655440000', 5, 'inbound', '+14155551234', '+14155555678', 'ended', '2024-01-01 12:00:40',
     '2024-01-01 12:00:00');
INSERT INTO voicemails (app_id, dialpad_call_id, dialpad_user_id, from_number, recording_url, transcript, duration_seconds,
    created_at) VALUES
    ('550e8400-e29b-41d4-a716-446655440000', 5, 555, '+14155551234', 'https://dialpad.com/v/1', 'An older one', 9,
     '2024-01-01 12:00:39'),
    ('550e8400-e29b-41d4-a716-446655440000', 5, 555, '+14155551234', 'https://dialpad.com/v/2', 'Call me back', 28,
     '2024-01-01 12:00:41'),
    ('550e8400-e29b-41d4-a716-446655440000', 6, 555, '+14155551235', 'https://dialpad.com/v/3', NULL, 0,
     '2024-01-01 13:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', NULL, 555, '+14155551236', 'https://dialpad.com/v/4', 'No call', 7,
     '2024-01-01 14:00:00');";

async fn a_voicemail_is_taken_with_and_without_its_call(world: World) {
    let Some(predecessor) = Predecessor::with(VOICEMAILS).await else { return };
    let report = predecessor.import(&world, &[]).await;
    assert_eq!(counts(&report, "voicemails"), [4, 3, 0, 1], "{report}");
    let server = without_dialpad(world.clone()).start().await;
    let app = app();
    let list = server.get("/api/voicemails").by(&app).answer().await.list();
    let shown: Vec<_> =
        list.iter().map(|it| (&it["dialpad_call_id"], &it["transcript"], &it["duration_seconds"])).collect();
    assert_eq!(
        json!(shown),
        json!([[null, "No call", 7], [6, null, null], [5, "Call me back", 28]]),
        "the newest first"
    );
    let call = server.call(&app, 5).await;
    call.shows(json!({"status": "ended", "outcome": "voicemail", "ended_at": "2024-01-01T12:00:40Z"}));
    assert_eq!(call["voicemail"]["id"], list[2]["id"]);
    server
        .call(&app, 6)
        .await
        .shows(json!({"status": "ended", "outcome": "voicemail", "direction": "inbound"}));
    let lone = list[0]["id"].as_str().expect("an id");
    let path = format!("/api/voicemails/{lone}");
    server.get(&path).by(&app).answer().await.ok().shows(json!({"from_e164": "+14155551236"}));

    drop(server);
    let again = predecessor.import(&world, &[]).await;
    assert_eq!(counts(&again, "voicemails"), [4, 0, 3, 1], "{again}");
}

async fn a_webhook_continues_an_imported_call(world: World) {
    let Some(predecessor) = Predecessor::with(CALLS).await else { return };
    predecessor.import(&world, &[]).await;
    let server = without_dialpad(world.clone()).start().await;
    let app = app();
    let before = server.call(&app, 3).await;
    let now = SystemClock.now().timestamp() - NOON;
    let ended = Call::new(3).outbound().of_organization(ORGANIZATION).ended(now).with("duration_seconds", 65);
    server.webhook_for_all(&ended).await;
    let events = server.feed_until(&app, "call.ended").await;
    assert_eq!(events.len(), 1, "{events:?}");
    let after = server.call(&app, 3).await;
    after.shows(json!({"status": "ended", "outcome": "answered", "duration_seconds": 65, "created_at": before["created_at"]}));
    assert_eq!(after["id"], before["id"]);
    assert_eq!(server.get("/api/calls").by(&app).answer().await.list().len(), 3);
    // An ended call only learns.
    let late = json!({"event_type": "call.recording.completed", "call_id": 2, "timestamp": NOON + 7200,
        "recording_url": "https://dialpad.com/r/2"});
    server.webhook(&app, &late).await;
    server.call(&app, 2).await.shows(json!({"status": "ended", "recording_url": "https://dialpad.com/r/2"}));
}

async fn webhooks_that_were_not_processed_are_processed_at_the_start(world: World) {
    let ring = Call::new(41).of_organization(ORGANIZATION).ring(0).to_string();
    let foreign = Call::new(42).of_organization(999).ring(0).to_string();
    let rows = format!(
        "INSERT INTO webhook_events (app_id, event_type, payload, processed_at, received_at) VALUES
            ('{APP}', 'call.ring', '{{\"event_type\":\"call.ring\",\"call_id\":40}}', now(), now()),
            (NULL, 'call.ring', '{ring}', NULL, '2024-01-01 12:00:01'),
            ('{APP}', 'call.started', '{{\"call_id\":41,\"timestamp\":{}}}', NULL, '2024-01-01 12:00:04'),
            ('{APP}', 'call.ring', '{{\"event_type\":\"call.ring\"}}', NULL, '2024-01-01 12:00:05'),
            (NULL, 'call.ring', '{foreign}', NULL, '2024-01-01 12:00:06');",
        NOON + 3
    );
    let Some(predecessor) = Predecessor::with(&rows).await else { return };
    let report = predecessor.import(&world, &[]).await;
    assert_eq!(counts(&report, "webhook_events"), [5, 4, 0, 1], "{report}");
    assert!(report.contains("webhook_events, taken: 1 failed, 2 pending, 1 unrouted"), "{report}");
    let again = predecessor.import(&world, &[]).await;
    assert_eq!(counts(&again, "webhook_events"), [5, 0, 4, 1], "{again}");

    let server = without_dialpad(world).start().await;
    let app = app();
    let events = server.feed_until(&app, "call.started").await;
    assert_eq!(kinds(&events), ["call.ring", "call.started"]);
    server.call(&app, 41).await.shows(json!({"status": "active", "answered_at": "2024-01-01T12:00:03Z"}));
}

const AWKWARD: &str = "
INSERT INTO apps VALUES ('750e8400-e29b-41d4-a716-446655440000', '', NULL, NULL, NULL, NULL, NULL);
INSERT INTO calls (app_id, dialpad_call_id, direction, status, started_at, ended_at, duration_seconds, created_at) VALUES
    ('550e8400-e29b-41d4-a716-446655440000', 10, 'sideways', 'on_fire', NULL, '2024-01-01 12:00:00', -5, '2024-01-01 11:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', 11, NULL, NULL, NULL, NULL, NULL, '2024-01-01 11:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', 11, 'inbound', 'ended', NULL, NULL, NULL, '2024-01-01 11:30:00'),
    ('550e8400-e29b-41d4-a716-446655440000', 99999999999999999999, 'inbound', 'ended', NULL, NULL, NULL, '2024-01-01 11:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', NULL, 'inbound', 'ended', NULL, NULL, NULL, '2024-01-01 11:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', 12, 'inbound', 'ended', NULL, 'infinity', NULL, '2024-01-01 11:00:00'),
    ('550e8400-e29b-41d4-a716-446655440000', 13, 'inbound', 'ended', NULL, NULL, NULL, NULL),
    ('550e8400-e29b-41d4-a716-446655440000', 9223372036854775807, 'inbound', 'ended', '2024-01-01 11:00:05', NULL, 30,
     '2024-01-01 11:00:00'),
    (NULL, 14, 'inbound', 'ended', NULL, NULL, NULL, '2024-01-01 11:00:00'),
    ('850e8400-e29b-41d4-a716-446655440000', 15, 'inbound', 'ended', NULL, NULL, NULL, '2024-01-01 11:00:00');";

async fn rows_that_do_not_fit_are_named_and_the_others_are_taken(world: World) {
    let Some(predecessor) = Predecessor::with(AWKWARD).await else { return };
    let report = predecessor.import(&world, &[]).await;
    assert_eq!(counts(&report, "apps"), [2, 2, 0, 0], "{report}");
    assert_eq!(counts(&report, "calls"), [10, 4, 0, 6], "{report}");
    for named in [
        "its dialpad_call_id is no number of 64 bits",
        "it belongs to no app",
        "its app 850e8400-e29b-41d4-a716-446655440000 is not there",
        "another row is the same call",
        "it has no time that can be read",
        "status is unknown: on_fire",
        "direction does not fit: \"sideways\"",
        "duration_seconds does not fit: -5",
        "ended_at can't be read as a time: \"infinity\"",
        "it has no end",
        "it has no name",
        "dialpad_users is not read",
    ] {
        assert!(report.contains(named), "{named:?} is missing in\n{report}");
    }
    let server = without_dialpad(world).start().await;
    let app = app();
    let over = |id: i64| server.call(&app, id);
    over(10).await.shows(json!({"status": "ended", "direction": null, "ended_at": "2024-01-01T12:00:00Z"}));
    over(11).await.shows(json!({"status": "ended", "ended_at": "2024-01-01T11:00:00Z"}));
    over(12).await.shows(json!({"status": "ended", "ended_at": "2024-01-01T11:00:00Z"}));
    over(i64::MAX)
        .await
        .shows(json!({"outcome": "answered", "ended_at": "2024-01-01T11:00:35Z", "duration_seconds": 30}));
    let listed = server.get("/api/calls").by(&app).answer().await.list();
    assert_eq!(listed.len(), 4);
}

/// Returns all that the API shows of the app.
async fn shown(server: &TestServer) -> Vec<Value> {
    let mut shown = Vec::new();
    for path in ["/api/calls", "/api/voicemails", "/api/messages", "/api/interactions", "/status"] {
        shown.push(server.get(path).by(&app()).answer().await.ok());
    }
    for path in ["users/mappings", "api-key/status", "api-key/audit"] {
        shown.push(server.get(&format!("/internal/apps/{APP}/{path}")).by_admin().answer().await.ok());
    }
    shown
}

async fn a_second_import_changes_nothing(world: World) {
    let Some(predecessor) = Predecessor::with(&format!("{CALLS}{VOICEMAILS}")).await else { return };
    predecessor.import(&world, &[]).await;
    let world = without_dialpad(world);
    let before = shown(&world.start().await).await;
    world.finish().await;
    // What changes there later does not reach what is here.
    predecessor.execute("UPDATE calls SET from_number = '+19'; UPDATE apps SET name = 'Renamed'").await;
    let again = predecessor.import(&world, &[]).await;
    for table in
        ["apps", "dialpad_connections", "calls", "messages", "dialpad_user_mappings", "api_key_audit_log"]
    {
        let [read, taken, already_there, left_out] = counts(&again, table);
        assert_eq!((taken, already_there, left_out), (0, read, 0), "{table} in\n{again}");
        assert!(read > 0);
    }
    assert_eq!(shown(&world.start().await).await, before);
}

async fn a_dry_run_reports_the_same_and_writes_nothing(world: World) {
    let Some(predecessor) = Predecessor::with(&format!("{CALLS}{VOICEMAILS}{AWKWARD}")).await else { return };
    let dry = predecessor.import(&world, &["--dry-run"]).await;
    if !world.is_on_postgres() {
        assert!(!world.folder().join("cti.db").exists(), "a dry run has made the database");
    }
    let real = predecessor.import(&world, &[]).await;
    let dry =
        dry.strip_suffix("\nThis was a dry run: nothing was written.\n").expect("it says that it was one");
    assert_eq!(dry, real);

    predecessor
        .execute("INSERT INTO messages (app_id, dialpad_message_id, created_at) SELECT id, 78, now() FROM apps LIMIT 1")
        .await;
    let before = world.count("SELECT COUNT(*) FROM messages").await;
    let later = predecessor.import(&world, &["--dry-run"]).await;
    assert_eq!(counts(&later, "messages"), [2, 1, 1, 0], "{later}");
    assert_eq!(counts(&later, "dialpad_user_mappings"), [1, 0, 1, 0], "{later}");
    assert_eq!(world.count("SELECT COUNT(*) FROM messages").await, before);
}

async fn an_app_whose_key_or_tokens_cannot_be_used_is_named(world: World) {
    let rows = format!(
        "INSERT INTO apps (id, name, api_key) VALUES ('{OTHER}', 'Other', '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad');
         INSERT INTO dialpad_connections (app_id, dialpad_org_id, access_token, refresh_token, token_expires_at)
         VALUES ('{OTHER}', 7, 'a1b2:c3d4:e5f6', 'a1b2:c3d4:e5f6', now());"
    );
    let Some(predecessor) = Predecessor::with(&rows).await else { return };
    let report = predecessor.import(&world, &[]).await;
    let key = format!("app {OTHER} (Other): its API key can't be taken over");
    let tokens =
        format!("app {OTHER}: its tokens can't be used; connect it again: /authorize?app_id={OTHER}");
    assert!(report.contains(&key) && report.contains(&tokens), "{report}");
    assert!(!report.contains("a1b2"), "a secret is shown in\n{report}");
    let server = without_dialpad(world).start().await;
    let other = server.rotate_key(&App { id: OTHER.to_owned(), key: String::new() }, None).await;
    let status = server.get("/status").by(&other).answer().await.ok();
    status.shows(json!({"connected": false, "status": "expired", "dialpad_org_id": 7}));
    // Its webhooks arrive all the same.
    server.webhook_for_all(&Call::new(1).of_organization(7).ring(0)).await;
    server.feed_until(&other, "call.ring").await;
}

async fn what_cannot_be_imported_is_refused(world: World) {
    for args in
        [&["import"][..], &["import", "--from", "sqlite://old.db"], &["import", "--from", "mysql://x/y"]]
    {
        let refused = world.run(args).await;
        assert_eq!(refused.code, Some(2), "{args:?}: {refused:?}");
    }
    let Some(url) = fresh_database("import").await else { return };
    let empty = world.run(&["import", "--from", &url]).await;
    assert_eq!(empty.code, Some(1), "{empty:?}");
    assert!(empty.stderr.contains("nothing was recognized"), "{empty:?}");
    let gone = world.run(&["import", "--from", "postgres://nobody@127.0.0.1:1/gone"]).await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.stderr.contains("the source can't be read"), "{gone:?}");

    let Some(predecessor) = Predecessor::with("").await else { return };
    // By another address, it is the same database all the same.
    let same = world.clone().with("DATABASE_URL", &predecessor.url.replace("127.0.0.1", "localhost"));
    for flags in [&[][..], &["--dry-run"]] {
        let args: Vec<&str> = ["import", "--from", &predecessor.url].iter().chain(flags).copied().collect();
        let refused = same.run(&args).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains("DATABASE_URL names the database that is to be imported"),
            "{refused:?}"
        );
    }
    let own = world.clone().with("DATABASE_URL", &url);
    assert_eq!(own.run(&["migrate"]).await.code, Some(0));
    let refused = world.run(&["import", "--from", &url]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("a database of cti-server itself"), "{refused:?}");
}

async fn tables_and_columns_may_be_missing(world: World) {
    let Some(predecessor) = Predecessor::with(CALLS).await else { return };
    predecessor
        .execute(
            "DROP TABLE messages; DROP TABLE voicemails; ALTER TABLE calls DROP COLUMN recording_url,
             DROP COLUMN is_voicemail, ADD COLUMN mood TEXT; ALTER TABLE webhook_events DROP COLUMN payload",
        )
        .await;
    let report = predecessor.import(&world, &[]).await;
    assert_eq!(counts(&report, "calls"), [3, 3, 0, 0], "{report}");
    for named in [
        "there is no table messages",
        "there is no table voicemails",
        "calls has no recording_url, is_voicemail",
        "webhook_events can't be read: it has no payload",
    ] {
        assert!(report.contains(named), "{named:?} is missing in\n{report}");
    }
    let server = without_dialpad(world).start().await;
    assert_eq!(server.get("/api/calls").by(&app()).answer().await.list().len(), 3);
}
