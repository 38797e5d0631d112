//! What administrators change in the console, and how long their sessions last.

use serde_json::json;

use crate::{
    console::{Person, cookie_of, shows},
    support::{ADMIN_SECRET, App, Ask, Call, Dialpad, TestServer, World, eventually},
};

on_both_databases![
    users_are_mapped_changed_pasted_and_deleted,
    keys_are_created_and_revoked,
    sessions_of_clients_are_listed_and_closed,
    a_webhook_is_registered_rotated_and_removed,
    an_app_is_renamed_and_deleted_by_its_name,
    a_session_lasts_over_a_restart_until_the_person_signs_out,
    what_each_webhook_did_is_shown,
];

on_sqlite![a_session_ends_with_the_secret_that_began_it];

on_postgres![a_session_is_valid_at_every_process_and_ends_at_every_process];

async fn users_are_mapped_changed_pasted_and_deleted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let person = Person::sign_in(&server).await;
    let users = format!("/console/apps/{}/users", app.id);
    let mapped = async || {
        let path = format!("/internal/apps/{}/users/mappings?ids=string", app.id);
        let list = server.get(&path).by_admin().answer().await.ok();
        let pair = |it: &serde_json::Value| {
            let text = |name: &str| it[name].as_str().expect("a text").to_owned();
            (text("dialpad_user_id"), text("crm_user_id"))
        };
        let mut pairs: Vec<_> = list.as_array().expect("a list").iter().map(pair).collect();
        pairs.sort();
        pairs
    };
    let pair = |user: &str, crm: &str| (user.to_owned(), crm.to_owned());
    shows(&person.open(&format!("/console/apps/{}", app.id)).await, &["No Dialpad user is mapped", &users]);

    let added = person.submit(&users, &[("dialpad_user_id", "555"), ("crm_user_id", "agent-7")]).await;
    assert_eq!(added.status, 303, "{added}");
    shows(&person.open(added.header("location").expect("the list")).await, &["1 user is mapped", "agent-7"]);
    person.submit(&users, &[("dialpad_user_id", "555"), ("crm_user_id", "agent-8")]).await;
    assert_eq!(mapped().await, [pair("555", "agent-8")]);
    for wrong in
        [[("dialpad_user_id", "-1"), ("crm_user_id", "a")], [("dialpad_user_id", "1"), ("crm_user_id", "")]]
    {
        assert_eq!(person.submit(&users, &wrong).await.status, 400);
    }

    let paste = format!("{users}/paste");
    let list = "dialpad_user_id;crm_user_id\r\n556;\"agent-9\"\r\n557;agent-10\r\n";
    let pasted = person.submit(&paste, &[("csv", list)]).await;
    shows(&person.open(pasted.header("location").expect("the list")).await, &["2 users are mapped"]);
    let all = [pair("555", "agent-8"), pair("556", "agent-9"), pair("557", "agent-10")];
    assert_eq!(mapped().await, all);
    let refused = person.submit(&paste, &[("csv", "600,a\n601")]).await;
    assert_eq!(refused.status, 400, "{refused}");
    assert!(refused.body.contains("line 2: a comma is missing"), "{refused}");
    assert_eq!(mapped().await, all, "nothing of a list that can't be read is taken");
    let found = person.open(&format!("{users}?crm_user_id=agent-9")).await;
    assert!(found.contains(">556<") && !found.contains(">557<"), "{found}");

    assert_eq!(person.submit(&format!("{users}/556/delete"), &[]).await.status, 303);
    assert_eq!(mapped().await, [pair("555", "agent-8"), pair("557", "agent-10")]);
    let forged = server.post(&format!("{users}/555/delete")).header("cookie", &person.cookie);
    assert_eq!(forged.form(&[("csrf", "0")]).answer().await.status, 403);
}

async fn keys_are_created_and_revoked(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let person = Person::sign_in(&server).await;
    let page = format!("/console/apps/{}", app.id);
    let revoked = person.submit(&format!("{page}/key/revoke"), &[]).await;
    shows(
        &person.open(revoked.header("location").expect("the app")).await,
        &["API keys of the app have ended", "Create a key"],
    );
    server.get("/status").by(&app).answer().await.refuses(401, "INVALID_API_KEY");
    let created = person.submit(&format!("{page}/key"), &[("grace_seconds", "86400")]).await;
    let key: String = created.body.split_once("raw_").expect("a key").1.chars().take(64).collect();
    let new = App { id: app.id.clone(), key: format!("raw_{key}") };
    server.get("/status").by(&new).answer().await.ok();
    assert!(!person.open(&page).await.contains(&key), "a key is shown once");
}

async fn sessions_of_clients_are_listed_and_closed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut one, mut other) = (server.listen(&app).await, server.listen(&app).await);
    let person = Person::sign_in(&server).await;
    let page = person.open(&format!("/console/apps/{}", app.id)).await;
    shows(&page, &["2 open at this process", "websocket"]);
    let (_, rest) = page.split_once("/sessions/").expect("a session");
    let id = &rest[..36];
    let close = format!("/console/apps/{}/sessions/{id}/close", app.id);
    assert_eq!(person.submit(&close, &[]).await.status, 303);
    assert_eq!(one.close_code().await, Some(1001), "the one that was open longer");
    server.webhook(&app, &Call::new(1).ring(0)).await;
    other.expect("call.ring").await;
    assert_eq!(person.submit(&close, &[]).await.status, 303, "it is closed already");
}

async fn a_webhook_is_registered_rotated_and_removed(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let person = Person::sign_in(&server).await;
    let page = format!("/console/apps/{}", app.id);
    let refused = person.submit(&format!("{page}/webhook"), &[]).await;
    assert!(refused.status >= 400 && refused.body.contains("NOT_CONNECTED"), "{refused}");
    server.connect(&app).await;
    shows(&person.open(&page).await, &["Register at Dialpad", "Disconnect"]);
    let after = async |action: &str| {
        let done = person.submit(&format!("{page}/{action}"), &[]).await;
        assert_eq!(done.status, 303, "{done}");
        person.open(done.header("location").expect("the app")).await
    };
    let webhooks = async || {
        let path = format!("/internal/webhooks?app_id={}", app.id);
        server.get(&path).by_admin().answer().await.ok().as_array().expect("a list").len()
    };
    shows(&after("webhook").await, &["are at Dialpad", "Subscription to calls", "Check and register again"]);
    assert_eq!(webhooks().await, 1);
    shows(&after("webhook/secret").await, &["signs with the new secret"]);
    shows(&after("webhook/delete").await, &["The webhook is removed"]);
    assert_eq!(webhooks().await, 0);
    shows(&after("disconnect").await, &["The app is disconnected", "App is not connected to Dialpad"]);
}

async fn an_app_is_renamed_and_deleted_by_its_name(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let person = Person::sign_in(&server).await;
    let page = format!("/console/apps/{}", app.id);
    person.submit(&format!("{page}/change"), &[("name", "Desk"), ("region", "DE")]).await;
    shows(&person.open(&page).await, &["<h1>Desk", "value=\"DE\""]);
    assert_eq!(
        person.submit(&format!("{page}/change"), &[("name", "Desk"), ("region", "Germany")]).await.status,
        400
    );
    let wrong = person.submit(&format!("{page}/delete"), &[("name", "CRM")]).await;
    assert!(wrong.status == 400 && wrong.body.contains("not the name of the app"), "{wrong}");
    let deleted = person.submit(&format!("{page}/delete"), &[("name", "Desk")]).await;
    assert_eq!((deleted.status, deleted.header("location")), (303, Some("/console")), "{deleted}");
    assert_eq!(person.get(&page).await.status, 404);
    assert!(!person.open("/console").await.contains("Desk"));
}

async fn a_session_lasts_over_a_restart_until_the_person_signs_out(world: World) {
    let server = world.start().await;
    let person = Person::sign_in(&server).await;
    let (cookie, csrf) = (person.cookie.clone(), person.csrf().await);
    drop(server);
    let server = world.start().await;
    let again = Person { server: &server, cookie: cookie.clone() };
    again.open("/console/journal").await;
    assert_eq!(again.csrf().await, csrf, "a form that was open is still valid");
    let out = again.submit("/console/sign-out", &[]).await;
    assert_eq!((out.status, out.header("location")), (303, Some("/console/sign-in")), "{out}");
    assert_eq!(again.get("/console").await.status, 302);
    assert_eq!(world.count("SELECT COUNT(*) FROM console_endings").await, 1);
    drop(server);
    let server = world.start().await;
    let copied = Person { server: &server, cookie };
    assert_eq!(copied.get("/console").await.status, 302, "a copy of the cookie has ended too");
}

async fn a_session_ends_with_the_secret_that_began_it(world: World) {
    let second = "a-second-secret-of-administrators";
    let server = world.clone().with("INTERNAL_API_SECRET", &format!("{ADMIN_SECRET},{second}")).start().await;
    let answer = server.post("/console/sign-in").form(&[("secret", second)]).answer().await;
    let person = Person { server: &server, cookie: cookie_of(&answer) };
    let (of_second, of_first) = (person.cookie.clone(), Person::sign_in(&server).await.cookie);
    person.open("/console").await;
    drop(server);
    let server = world.start().await;
    let status = async |cookie: &str| {
        Person { server: &server, cookie: cookie.to_owned() }.get("/console").await.status
    };
    assert_eq!((status(&of_second).await, status(&of_first).await), (302, 200));
}

async fn a_session_is_valid_at_every_process_and_ends_at_every_process(world: World) {
    let (one, other): (TestServer, TestServer) = (world.start().await, world.start().await);
    let person = Person::sign_in(&one).await;
    let elsewhere = Person { server: &other, cookie: person.cookie.clone() };
    elsewhere.open("/console").await;
    let id = uuid::Uuid::now_v7().to_string();
    let made = elsewhere.submit("/console/apps", &[("name", "Made there"), ("id", &id)]).await;
    assert_eq!(made.status, 200, "{made}");
    shows(&person.open("/console").await, &["Made there"]);
    person.submit("/console/sign-out", &[]).await;
    assert_eq!(elsewhere.get("/console").await.status, 302);
}

async fn what_each_webhook_did_is_shown(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(4_711);
    // The answer comes first, then the ring, late; and the answer once more, as another webhook.
    server.webhooks(&app, [&call.started(5), &call.ring(0)]).await;
    let mut repeated = call.started(5);
    repeated["event_id"] = json!("another-one");
    server.webhook(&app, &repeated).await;
    server.webhook(&app, &call.ended(65)).await;
    server.wait_for_events(&app, 3).await;
    let person = Person::sign_in(&server).await;
    let page = eventually("all webhooks are processed", async || {
        let page = person.open(&format!("/console/apps/{}/calls/4711", app.id)).await;
        (page.matches(">processed<").count() == 4).then_some(page)
    })
    .await;
    let rows: Vec<&str> = page.split("/console/journal/").skip(1).collect();
    let first_row = |row: &str| row.split("</tr>").next().expect("a row").to_owned();
    let [answer, ring, again, end] = [0, 1, 2, 3].map(|row| first_row(rows[row]));
    shows(&answer, &["status: active", "answered: ", "call.started (seq 1)"]);
    shows(&ring, &[">late<", "rang: ", "call.updated (seq 2)"]);
    shows(&again, &["nothing new", ">nothing<"]);
    shows(&end, &["status: active → ended", "talk: 1:00", "call.ended (seq 3)"]);
    assert!(!answer.contains(">late<") && !end.contains(">late<"), "{page}");
}
