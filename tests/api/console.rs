//! `/console`: the pages of administrators, in a browser without JavaScript.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    ADMIN_SECRET, Answer, App, Ask, Call, Dialpad, Process, TestServer, WEBHOOK_SECRET, World, eventually,
    kinds,
};

on_both_databases![
    apps_are_listed_created_and_shown,
    a_rotated_key_is_shown_once_and_valid,
    an_app_is_deactivated_and_activated,
    failed_webhooks_are_found_and_replayed,
    webhooks_are_found_by_call_number_and_time,
    an_unrouted_webhook_is_given_to_an_app,
    what_webhooks_contain_is_shown_as_text,
    a_call_is_shown_with_why_it_has_its_status,
    calls_are_found_by_number_and_status,
    active_calls_and_new_events_are_shown_live,
    settings_are_shown_without_secrets,
    a_connection_that_has_expired_is_shown_wherever_it_matters,
    an_app_to_which_dialpad_delivers_nothing_is_shown_wherever_it_matters,
    a_recording_is_played_on_the_page_of_its_call,
];

on_sqlite![
    nobody_sees_a_page_without_signing_in,
    a_wrong_secret_is_refused_and_counts_like_a_wrong_bearer,
    a_form_without_the_token_of_its_session_is_refused,
    the_cookie_is_no_bearer,
    the_cookie_is_bound_to_this_host_in_production,
    pages_load_nothing_from_elsewhere_and_are_not_stored,
    other_origins_get_no_access,
    a_page_that_is_not_there_is_a_page,
    the_demo_prints_an_address_that_signs_in_once,
];

/// A person who is signed in.
pub(crate) struct Person<'s> {
    pub(crate) server: &'s TestServer,
    /// As the browser sends it: `name=value`.
    pub(crate) cookie: String,
}

impl<'s> Person<'s> {
    pub(crate) async fn sign_in(server: &'s TestServer) -> Self {
        let answer = sign_in(server, ADMIN_SECRET).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/console")), "{answer}");
        Self { server, cookie: cookie_of(&answer) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.server.get(path).header("cookie", &self.cookie).answer().await
    }

    /// Opens a page, which must be there.
    pub(crate) async fn open(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{answer}");
        answer.body
    }

    /// Returns the token of the person's forms.
    pub(crate) async fn csrf(&self) -> String {
        token_of(&self.open("/console").await)
    }

    /// Sends a form of a page, with the page's token.
    pub(crate) async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.csrf().await;
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", token.as_str())]).collect();
        self.server.post(path).header("cookie", &self.cookie).form(&fields).answer().await
    }
}

async fn sign_in(server: &TestServer, secret: &str) -> Answer {
    server.post("/console/sign-in").form(&[("secret", secret)]).answer().await
}

pub(crate) fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer}"));
    cookie.split(';').next().expect("a name and a value").to_owned()
}

/// Returns the value of the first hidden field with this name.
fn hidden_field(page: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let value = page.split_once(&start).and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value);
    value.unwrap_or_else(|| panic!("no field {name}: {page}")).to_owned()
}

fn token_of(page: &str) -> String {
    hidden_field(page, "csrf")
}

#[track_caller]
pub(crate) fn shows(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text} is missing in:\n{page}");
    }
}

async fn set_active(server: &TestServer, app: &App, is_active: bool) {
    let change = server.request(reqwest::Method::PATCH, &format!("/internal/apps/{}", app.id));
    change.by_admin().json(&json!({"is_active": is_active})).answer().await.ok();
}

/// Has the app a webhook that failed for a reason that has passed.
async fn failed_webhook(world: &World, server: &TestServer, app: &App, call: i64) -> String {
    set_active(server, app, false).await;
    let ack = server.webhook(app, &Call::new(call).ring(0)).await;
    let id = &ack.event_id;
    let statement = format!(
        "UPDATE webhook_events SET status = 'failed', reason = 'a bug of yesterday', attempts = 3 WHERE id = '{id}'"
    );
    world.execute(&statement).await;
    set_active(server, app, true).await;
    ack.event_id
}

async fn nobody_sees_a_page_without_signing_in(world: World) {
    let server = world.start().await;
    for path in ["/console", "/console/journal", "/console/apps/1", "/console/nothing"] {
        let answer = server.get(path).answer().await;
        assert_eq!(answer.status, 302, "{answer}");
        let location = answer.header("location").unwrap_or_default().to_owned();
        assert!(location.starts_with("/console/sign-in"), "{answer}");
        assert_eq!(
            path == "/console",
            location == "/console/sign-in",
            "the page is continued with: {answer}"
        );
        let forged = server.get(path).header("cookie", format!("cti_console={}", "0".repeat(64)));
        assert_eq!(forged.answer().await.status, 302);
    }
    assert_eq!(server.post("/console/apps").form(&[("name", "a")]).answer().await.status, 302);

    let form = server.get("/console/sign-in?next=%2Fconsole%2Fjournal").answer().await;
    assert_eq!(form.status, 200, "{form}");
    let fields = [("secret", ADMIN_SECRET), ("next", "/console/journal")];
    let continued = server.post("/console/sign-in").form(&fields).answer().await;
    assert_eq!(continued.header("location"), Some("/console/journal"), "{continued}");
    let fields = [("secret", ADMIN_SECRET), ("next", "//evil.example")];
    let elsewhere = server.post("/console/sign-in").form(&fields).answer().await;
    assert_eq!(elsewhere.header("location"), Some("/console"), "{elsewhere}");

    let person = Person::sign_in(&server).await;
    shows(&person.open("/console").await, &["Sign out", "Apps"]);
    let out = person.submit("/console/sign-out", &[]).await;
    assert_eq!((out.status, out.header("location")), (303, Some("/console/sign-in")), "{out}");
    assert_eq!(person.get("/console").await.status, 302, "the session has ended");
}

async fn a_wrong_secret_is_refused_and_counts_like_a_wrong_bearer(world: World) {
    let server = world.with("AUTH_FAILURES_PER_MINUTE", "3").start().await;
    server.get("/internal/apps").bearer_auth("wrong").answer().await.refuses(403, "FORBIDDEN");
    for _ in 0..2 {
        let wrong = sign_in(&server, "wrong").await;
        assert_eq!(wrong.status, 401, "{wrong}");
        assert!(wrong.header("set-cookie").is_none(), "{wrong}");
        shows(&wrong.body, &["The secret is wrong", "type=\"password\""]);
    }
    let limited = sign_in(&server, "wrong").await;
    assert_eq!(limited.status, 429, "{limited}");
    assert!(limited.header("retry-after").is_some(), "{limited}");
    shows(&limited.body, &["Too many attempts"]);
    let token = server.get("/console/sign-in?token=wrong").answer().await;
    assert_eq!(token.status, 429, "{token}");
    server.get("/internal/apps").bearer_auth("wrong").answer().await.refuses(429, "RATE_LIMITED");
    Person::sign_in(&server).await;
}

async fn a_form_without_the_token_of_its_session_is_refused(world: World) {
    let server = world.start().await;
    let (person, other) = (Person::sign_in(&server).await, Person::sign_in(&server).await);
    let post = |fields: Vec<(&'static str, String)>| {
        server.post("/console/apps").header("cookie", &person.cookie).form(&fields)
    };
    let page = person.open("/console").await;
    let fields =
        |token: String| vec![("name", "CRM".into()), ("id", hidden_field(&page, "id")), ("csrf", token)];
    for token in [String::new(), token_of(&other.open("/console").await)] {
        let refused = post(fields(token)).answer().await;
        assert_eq!(refused.status, 403, "{refused}");
        shows(&refused.body, &["<h1>Not allowed</h1>"]);
    }
    let cross_site = post(fields(token_of(&page))).header("sec-fetch-site", "cross-site").answer().await;
    assert_eq!(cross_site.status, 403, "{cross_site}");
    for origin in ["https://evil.example", "null"] {
        let foreign = post(fields(token_of(&page))).header("origin", origin).answer().await;
        assert_eq!(foreign.status, 403, "{foreign}");
    }
    assert!(server.get("/internal/apps").by_admin().answer().await.list().is_empty());
    let foreign = server.post("/console/sign-in").header("origin", "https://evil.example");
    let foreign = foreign.form(&[("secret", ADMIN_SECRET)]).answer().await;
    assert_eq!(foreign.status, 403, "{foreign}");
    let ours = format!("http://{}", server.address());
    assert_eq!(post(fields(token_of(&page))).header("origin", ours).answer().await.status, 200);
}

async fn the_cookie_is_no_bearer(world: World) {
    let server = world.start().await;
    let person = Person::sign_in(&server).await;
    person.get("/internal/apps").await.refuses(401, "MISSING_BEARER");
    let value = person.cookie.split_once('=').expect("a name and a value").1;
    server.get("/internal/apps").bearer_auth(value).answer().await.refuses(403, "FORBIDDEN");
}

async fn the_cookie_is_bound_to_this_host_in_production(world: World) {
    let sandbox = world.start().await;
    let answer = sign_in(&sandbox, ADMIN_SECRET).await;
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("cti_console="), "{cookie}");
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(flag), "{flag} is missing: {cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    drop(sandbox);

    let production = world.with("CTI_ENV", "production").with("PUBLIC_URL", "https://cti.example.com");
    let production = production.start().await;
    let answer = sign_in(&production, ADMIN_SECRET).await;
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-cti_console="), "{cookie}");
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Secure", "Max-Age=43200"] {
        assert!(cookie.contains(flag), "{flag} is missing: {cookie}");
    }
    Person::sign_in(&production).await.open("/console").await;
}

async fn pages_load_nothing_from_elsewhere_and_are_not_stored(world: World) {
    let server = world.start().await;
    let person = Person::sign_in(&server).await;
    for answer in [person.get("/console").await, server.get("/console/sign-in").answer().await] {
        let policy = answer.header("content-security-policy").unwrap_or_default();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{part} is missing: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
        assert!(!answer.body.contains(" style=") && !answer.body.contains("<style"), "{answer}");
        for asset in answer.body.split("/console/assets/").skip(1).map(|rest| rest.split('"').next()) {
            let asset = server.get(&format!("/console/assets/{}", asset.expect("an address"))).answer().await;
            assert_eq!(asset.status, 200, "{asset}");
        }
    }
    let looked_at = server.request(reqwest::Method::HEAD, "/console").header("cookie", &person.cookie);
    assert_eq!(looked_at.answer().await.status, 200);
}

async fn other_origins_get_no_access(world: World) {
    let server = world.with("CORS_ORIGINS", "*").start().await;
    let person = Person::sign_in(&server).await;
    let asked =
        server.get("/console").header("cookie", &person.cookie).header("origin", "https://crm.example");
    let asked = asked.answer().await;
    assert!(asked.header("access-control-allow-origin").is_none(), "{asked}");
}

async fn a_page_that_is_not_there_is_a_page(world: World) {
    let server = world.start().await;
    let person = Person::sign_in(&server).await;
    for path in ["/console/nothing", "/console/apps/7", "/console/journal/nothing"] {
        let missing = person.get(path).await;
        assert_eq!(missing.status, 404, "{missing}");
        shows(&missing.body, &["<h1>Not found</h1>", "Back to the console"]);
    }
    for query in ["status=lost", "since=soon", "digits=abc", "cursor=x"] {
        let invalid = person.get(&format!("/console/journal?{query}")).await;
        assert_eq!(invalid.status, 400, "{invalid}");
    }
}

async fn apps_are_listed_created_and_shown(world: World) {
    let server = world.start().await;
    let person = Person::sign_in(&server).await;
    let id = hidden_field(&person.open("/console").await, "id");
    let fields = [("name", "Sales & <Support>"), ("id", id.as_str())];
    let created = person.submit("/console/apps", &fields).await;
    assert_eq!(created.status, 200, "{created}");
    shows(&created.body, &["Sales &amp; &lt;Support&gt;", "raw_", "/authorize?app_id="]);
    let again = person.submit("/console/apps", &fields).await;
    assert_eq!(again.status, 400, "a form that is sent twice creates one app: {again}");

    let apps = server.get("/internal/apps").by_admin().answer().await.list();
    assert_eq!((apps.len(), &apps[0]["app_id"]), (1, &json!(id)));
    let list = person.open("/console").await;
    shows(&list, &["Sales &amp; &lt;Support&gt;", "disconnected", &format!("/console/apps/{id}")]);
    let key = created.body.split_once("raw_").expect("a key").1.split('<').next().expect("its end");
    assert!(!list.contains(key), "the key is shown once");

    let app = App { id, key: format!("raw_{key}") };
    let mapping = json!({"dialpad_user_id": 555, "crm_user_id": "agent-7"});
    let map = server.post(&format!("/internal/apps/{}/users/map", app.id)).by_admin().json(&mapping);
    map.answer().await.ok();
    server.get("/api/events?consumer=nightly").by(&app).answer().await.ok();
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let page = person.open(&format!("/console/apps/{}", app.id)).await;
    shows(&page, &["App is not connected to Dialpad", "nightly", "agent-7", "555", "Rotate the key"]);
}

async fn a_rotated_key_is_shown_once_and_valid(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let person = Person::sign_in(&server).await;
    let path = format!("/console/apps/{}/key", app.id);
    let rotated = person.submit(&path, &[("grace_seconds", "3600")]).await;
    assert_eq!(rotated.status, 200, "{rotated}");
    let key: String = rotated.body.split_once("raw_").expect("a key").1.chars().take(64).collect();
    let new = App { id: app.id.clone(), key: format!("raw_{key}") };
    server.get("/status").by(&new).answer().await.ok();
    server.get("/status").by(&app).answer().await.ok();
    assert_eq!(person.submit(&path, &[("grace_seconds", "5")]).await.status, 400);
    person.submit(&path, &[("grace_seconds", "0")]).await;
    server.get("/status").by(&new).answer().await.refuses(401, "INVALID_API_KEY");
    shows(&person.open(&format!("/console/apps/{}", app.id)).await, &["rotated"]);
}

async fn an_app_is_deactivated_and_activated(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let person = Person::sign_in(&server).await;
    let path = format!("/console/apps/{}/active", app.id);
    assert_eq!(person.submit(&path, &[("active", "false")]).await.status, 303);
    server.get("/status").by(&app).answer().await.refuses(403, "APP_INACTIVE");
    shows(&person.open("/console").await, &["inactive"]);
    assert_eq!(person.submit(&path, &[("active", "true")]).await.status, 303);
    server.get("/status").by(&app).answer().await.ok();
}

async fn failed_webhooks_are_found_and_replayed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let one = failed_webhook(&world, &server, &app, 1).await;
    let others =
        [failed_webhook(&world, &server, &app, 2).await, failed_webhook(&world, &server, &app, 3).await];
    let person = Person::sign_in(&server).await;
    // The second click of three: the first one opened the console, the third one replays.
    shows(&person.open("/console").await, &["3 failed webhooks", "/console/journal?status=failed"]);
    let list = person.open("/console/journal?status=failed").await;
    shows(&list, &[&one, &others[0], "a bug of yesterday", "Replay all that match"]);

    let replayed = person.submit(&format!("/console/journal/{one}/replay"), &[]).await;
    let location = replayed.header("location").map(str::to_owned);
    assert_eq!(location, Some(format!("/console/journal/{one}?replayed=true")), "{replayed}");
    shows(&person.open(&format!("/console/journal/{one}")).await, &["processed"]);
    assert_eq!(kinds(&server.wait_for_events(&app, 1).await), ["call.ring"]);

    let all = person.submit("/console/journal/replay", &[("status", "failed"), ("app", &app.id)]).await;
    assert_eq!(all.status, 303, "{all}");
    let location = all.header("location").unwrap_or_default();
    shows(&person.open(location).await, &["2 webhooks are processed again"]);
    server.wait_for_events(&app, 3).await;
    let processed = person.submit("/console/journal/replay", &[("status", "processed")]).await;
    assert_eq!(processed.status, 400, "{processed}");
}

async fn webhooks_are_found_by_call_number_and_time(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let one = server.webhook(&app, &Call::new(4_711).between("+14155550111", "+14155550122").ring(0)).await;
    let other = server.webhook(&app, &Call::new(9_999).between("+14155550133", "+14155550122").ring(0)).await;
    let person = Person::sign_in(&server).await;
    let found = async |query: &str| {
        let list = person.open(&format!("/console/journal?{query}")).await;
        (list.contains(&one.event_id), list.contains(&other.event_id))
    };
    assert_eq!(found("digits=4711").await, (true, false));
    assert_eq!(found("digits=%2B1+%28415%29+555-0133").await, (false, true));
    assert_eq!(found("digits=14155550122&type=call.ring").await, (true, true));
    assert_eq!(found("digits=14155550122&type=call.ended").await, (false, false));
    assert_eq!(found("until=2024-01-01T12%3A00").await, (false, false));
    assert_eq!(found("since=2024-01-01T12%3A00&status=processed").await, (true, true));
}

async fn an_unrouted_webhook_is_given_to_an_app(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ack = server.webhook_for_all(&Call::new(1).ring(0)).await;
    let person = Person::sign_in(&server).await;
    let page = person.open(&format!("/console/journal/{}", ack.event_id)).await;
    shows(&page, &["organization_missing", &format!("value=\"{}\"", app.id)]);
    let path = format!("/console/journal/{}/replay", ack.event_id);
    assert_eq!(person.submit(&path, &[("app", &app.id)]).await.status, 303);
    assert_eq!(kinds(&server.wait_for_events(&app, 1).await), ["call.ring"]);
}

async fn what_webhooks_contain_is_shown_as_text(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let hostile = "<script>alert(1)</script>";
    let ack = server.webhook(&app, &json!({"event_type": hostile, "call_id": hostile})).await;
    let person = Person::sign_in(&server).await;
    for path in ["/console/journal".to_owned(), format!("/console/journal/{}", ack.event_id)] {
        let page = person.open(&path).await;
        assert!(!page.contains(hostile), "{page}");
        shows(&page, &["&lt;script&gt;alert(1)&lt;/script&gt;"]);
    }
}

async fn a_call_is_shown_with_why_it_has_its_status(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(4_711);
    server.webhooks(&app, [&call.ring(0), &call.started(5)]).await;
    server.webhooks(&app, [&call.held(20), &call.resumed(30), &call.ended(65)]).await;
    server.webhook(&app, &Call::new(47_112).ring(0)).await;
    let feed = server.wait_for_events(&app, 6).await;
    let person = Person::sign_in(&server).await;
    let page = person.open(&format!("/console/apps/{}/calls/4711", app.id)).await;
    shows(
        &page,
        &[
            "<svg",
            "class=\"ring\"",
            "class=\"talk\"",
            "class=\"hold\"",
            "answered",
            "rang 0:05 and talked 1:00",
        ],
    );
    assert!(!page.contains("47112"), "another call's webhook: {page}");
    // Each webhook with the event that followed, in the order of arrival.
    let rows: Vec<&str> = page.split("/console/journal/").skip(1).collect();
    let types = ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"];
    assert_eq!(rows.len(), types.len(), "{page}");
    for (row, kind) in rows.iter().zip(types) {
        let event = feed.iter().find(|event| event["type"] == kind && event["call_id"] == 4_711);
        let seq = &event.expect("it was emitted")["seq"];
        assert!(row.contains(&format!("{kind} (seq {seq})")), "{kind} is missing in {row}");
    }
    for missing in ["calls/1", "calls/nonsense", "calls/4711/voicemail", "calls/1/recording"] {
        let answer = person.get(&format!("/console/apps/{}/{missing}", app.id)).await;
        assert_eq!(answer.status, 404, "{answer}");
    }
}

async fn calls_are_found_by_number_and_status(world: World) {
    let server = world.start().await;
    let person = Person::sign_in(&server).await;
    shows(&person.open("/console/calls").await, &["There is no app yet"]);
    let app = server.create_app("CRM").await;
    let ended = Call::new(1).between("+14155550101", "+14155550199");
    server.webhooks(&app, [&ended.ring(0), &ended.ended(9)]).await;
    server.webhook(&app, &Call::new(2).between("+14155550102", "+14155550199").ring(0)).await;
    server.wait_for_events(&app, 3).await;
    let found = async |query: &str| {
        let page = person.open(&format!("/console/calls?{query}")).await;
        (page.contains("+14155550101"), page.contains("+14155550102"))
    };
    assert_eq!(found("").await, (true, true));
    assert_eq!(found("status=ended").await, (true, false));
    assert!(!found(&format!("app={}&status=&number=415-555-0102", app.id)).await.0);
    assert_eq!(person.get("/console/calls?status=lost").await.status, 400);
}

async fn active_calls_and_new_events_are_shown_live(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(4_711).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    let person = Person::sign_in(&server).await;
    let timer = "data-seconds=\"";
    shows(&person.open("/console/live").await, &["/calls/4711", timer, "call.ring", "/console/live/now"]);
    shows(&person.open(&format!("/console/live/now?app={}", app.id)).await, &["/calls/4711", timer]);
    server.webhook(&app, &Call::new(4_711).ended(9)).await;
    server.wait_for_events(&app, 2).await;
    let now = person.open("/console/live/now").await;
    shows(&now, &["call.ended"]);
    assert!(!now.contains("data-seconds"), "no call is active: {now}");
    assert_eq!(server.get("/console/live/now").answer().await.status, 302);
}

async fn settings_are_shown_without_secrets(world: World) {
    let server = world.start().await;
    let person = Person::sign_in(&server).await;
    let page = person.open("/console/system").await;
    shows(&page, &["INTERACTION_SETTLE", "1h", "INTERNAL_API_SECRET", "(set)", "healthy", "database: ok"]);
    shows(&page, &["cti_webhooks_given_up_total", "at most 10000", "Spool"]);
    for secret in [ADMIN_SECRET, WEBHOOK_SECRET, world.setting("TOKEN_ENCRYPTION_KEY")] {
        assert!(!page.contains(secret), "a secret is shown");
    }
}

async fn a_connection_that_has_expired_is_shown_wherever_it_matters(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let person = Person::sign_in(&server).await;
    let page = format!("/console/apps/{}", app.id);
    shows(&person.open(&page).await, &["App is connected to Dialpad", "message_content_export:all"]);
    assert!(!person.open("/console/live").await.contains("must be authorized again"));

    world.execute("UPDATE dialpad_connections SET status = 'expired'").await;
    for path in [page.as_str(), "/console/live"] {
        shows(&person.open(path).await, &["must be authorized again"]);
    }
    shows(&person.open("/console").await, &["expired", &format!("/authorize?app_id={}", app.id)]);
}

async fn an_app_to_which_dialpad_delivers_nothing_is_shown_wherever_it_matters(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("an old app").await;
    server.connect(&app).await;
    // More apps than a page has.
    for number in 0..51 {
        server.create_app(&format!("app {number}")).await;
    }
    let person = Person::sign_in(&server).await;
    let problem = "could not confirm that Dialpad delivers its calls";
    for path in ["/console", "/console/live"] {
        assert!(!person.open(path).await.contains(problem), "nothing is registered yet");
    }
    shows(&person.open("/console/live").await, &["All apps"]);

    let forbidden = json!([{"to": "api", "only": "POST /api/v2/subscriptions/call", "answer": "forbidden"}]);
    dialpad.switch(&json!({"next_answers": forbidden})).await;
    let create = server.post(&format!("/internal/webhooks/create?app_id={}", app.id));
    create.by_admin().answer().await.refuses(502, "DIALPAD_REFUSED");
    for path in ["/console", "/console/live", "/console/live/now"] {
        shows(&person.open(path).await, &["an old app", problem, "403"]);
    }
}

async fn a_recording_is_played_on_the_page_of_its_call(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let order = json!({"flow": "answered", "calls": 1, "pace": 0, "wait_for_subscriber": true});
    let call = dialpad.play(&order).await[0]["call_id"].as_i64().expect("a call has an id");
    let has_recording =
        |feed: &[serde_json::Value]| feed.iter().any(|event| event["recording_url"].is_string());
    server.feed_when(&app, "the recording is known", has_recording).await;

    let person = Person::sign_in(&server).await;
    let page = person.open(&format!("/console/apps/{}/calls/{call}", app.id)).await;
    let (_, player) = page.split_once("<audio").expect("a player");
    let (_, source) = player.split_once("src=\"").expect("an address");
    let source = source.split('"').next().expect("its end").replace("&amp;", "&");
    let heard = server.get(&source).header("cookie", &person.cookie).send().await.expect("an answer");
    assert_eq!(heard.status(), 200);
    assert_eq!(&heard.bytes().await.expect("the recording")[..4], b"RIFF");
    assert_eq!(server.get(&source).answer().await.status, 302, "not without signing in");
}

#[tokio::test]
async fn what_needs_no_database_is_shown_while_it_is_away() {
    let Some(world) = World::on_postgres("console_without_the_database").await else { return };
    let (world, proxy) = world.behind_a_proxy().await;
    let server = world.start().await;
    server.create_app("CRM").await;
    proxy.cut();
    let person = Person::sign_in(&server).await;
    let home = person.get("/console").await;
    assert_eq!(home.status, 503, "{home}");
    shows(&home.body, &["The database is unavailable"]);
    for part in ["/console/live", "/console/live/now"] {
        shows(&person.open(part).await, &["The database is unavailable", "Sessions at this process: 0"]);
    }
    shows(&person.open("/console/system").await, &["unhealthy", "INTERACTION_SETTLE"]);
    proxy.mend();
    eventually("the apps are shown again", async || {
        (person.get("/console").await.status == 200).then_some(())
    })
    .await;
    // While the proxy is there: the server needs its database to stop.
    drop(server);
    world.finish().await;
}

async fn the_demo_prints_an_address_that_signs_in_once(world: World) {
    let settings = ["HOST", "PORT", "DATABASE_URL", "INTERNAL_API_SECRET", "TOKEN_ENCRYPTION_KEY"];
    let nowhere = settings.iter().fold(world.clone(), |world, name| world.without(name));
    let mut demo = Process::spawn("cti-server demo", &mut nowhere.command(&["demo", "--rate", "0.001"]));
    let address = |line: &str| line.contains("/console/sign-in?token=").then(|| line.to_owned());
    let address = demo.wait_for_line("the console's address", address).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let http = http.build().expect("a client can be made");
    let looked_at = http.head(&address).answer().await;
    assert!(looked_at.header("set-cookie").is_none(), "a HEAD signs nobody in: {looked_at}");
    let first = http.get(&address).answer().await;
    assert_eq!((first.status, first.header("location")), (302, Some("/console")), "{first}");
    let base = address.split_once("/console").expect("an address").0;
    let home = http.get(format!("{base}/console")).header("cookie", cookie_of(&first)).answer().await;
    assert_eq!(home.status, 200, "{home}");
    shows(&home.body, &["cti-server demo", "connected"]);
    let second = http.get(&address).answer().await;
    assert_eq!(second.status, 401, "{second}");
    demo.terminate();
    demo.exit(Duration::from_secs(30)).await;
}
