//! The list of Dialpad's users, for administrators who map them.

use serde_json::{Value, json};

use crate::support::{
    Answer, App, Ask, Dialpad, Reply, ScriptedDialpad, ScriptedRequest, Shows, TestServer, World,
};

on_both_databases![
    users_of_the_company_are_listed_with_their_mappings,
    a_list_of_users_is_read_page_by_page,
    a_page_that_repeats_its_cursor_is_the_last,
    users_that_can_not_be_listed_say_why,
];

async fn users(server: &TestServer, app: &App, query: &str) -> Answer {
    server.get(&format!("/internal/apps/{}/dialpad-users{query}", app.id)).by_admin().answer().await
}

async fn map(server: &TestServer, app: &App, user: i64, crm_user: &str) {
    let body = json!({"dialpad_user_id": user, "crm_user_id": crm_user});
    server.post(&format!("/internal/apps/{}/users/map", app.id)).by_admin().json(&body).answer().await.ok();
}

/// Follows the links from the first page on; returns the pages.
async fn pages(server: &TestServer, app: &App, limit: usize) -> Vec<Vec<Value>> {
    let first = users(server, app, &format!("?limit={limit}")).await;
    let (mut pages, mut next) = (vec![first.list()], first.next_page());
    while let Some(path) = next {
        assert!(pages.len() < 100, "the list has no end");
        let page = server.get(&path).by_admin().answer().await;
        pages.push(page.list());
        next = page.next_page();
    }
    pages
}

async fn users_of_the_company_are_listed_with_their_mappings(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    users(&server, &app, "").await.refuses(409, "NOT_CONNECTED");
    server.connect(&app).await;
    map(&server, &app, Dialpad::USER, "agent-7").await;

    let all = users(&server, &app, "").await;
    assert_eq!(all.next_page(), None);
    let all = all.list();
    let of = |id: Value| all.iter().find(|user| user["dialpad_user_id"] == id).expect("the user is listed");
    of(json!(Dialpad::USER)).shows(json!({
        "name": "Ada Marsh", "state": "active", "crm_user_id": "agent-7",
    }));
    of(json!(555)).shows(json!({
        "name": "Uma Lang", "emails": ["uma@acme.example"], "phone_numbers": ["+14155550155"], "state": "active",
        "crm_user_id": null,
    }));
    let as_text = users(&server, &app, "?ids=string").await.list();
    assert_eq!(as_text.len(), all.len());
    assert!(as_text.iter().all(|user| user["dialpad_user_id"].is_string()), "{as_text:?}");

    let in_pages = pages(&server, &app, 2).await;
    assert!(in_pages[..in_pages.len() - 1].iter().all(|page| page.len() == 2), "{in_pages:?}");
    assert_eq!(in_pages.concat(), all, "each user once, in the same order");
}

/// Dialpad's pages of three users; the ids say where they are.
fn page_of_three(asked: &ScriptedRequest) -> Reply {
    let (first, next) = match asked.query.as_str() {
        "" => (1, Some("a.b/+=")),
        "cursor=a.b%2F%2B%3D" => (4, Some("last")),
        "cursor=last" => (7, None),
        other => panic!("an unknown cursor: {other}"),
    };
    let items: Vec<Value> = (first..first + 3).map(|id: i64| json!({"id": id.to_string()})).collect();
    Reply::json(200, json!({"items": items, "cursor": next}))
}

async fn a_list_of_users_is_read_page_by_page(world: World) {
    let dialpad = ScriptedDialpad::start(page_of_three).await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    for limit in [1, 2, 3, 4, 8, 9, 500] {
        let in_pages = pages(&server, &app, limit).await;
        let sizes: Vec<usize> = in_pages.iter().map(Vec::len).collect();
        assert!(sizes.iter().all(|size| (1..=limit).contains(size)), "{limit}: {sizes:?}");
        let ids: Vec<Value> = in_pages.concat().iter().map(|user| user["dialpad_user_id"].clone()).collect();
        assert_eq!(json!(ids), json!([1, 2, 3, 4, 5, 6, 7, 8, 9]), "{limit}");
    }
    for (query, name) in
        [("?limit=0", "limit"), ("?cursor=x", "cursor"), ("?state=active", "state"), ("?ids=text", "ids")]
    {
        users(&server, &app, query).await.refuses_naming(name);
    }
}

async fn a_page_that_repeats_its_cursor_is_the_last(world: World) {
    let dialpad = ScriptedDialpad::start(|_: &ScriptedRequest| {
        Reply::json(200, json!({"items": [{"id": "5", "display_name": null}], "cursor": "X"}))
    })
    .await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let answer = users(&server, &app, "").await;
    assert_eq!((answer.list().len(), answer.next_page()), (2, None));
    assert_eq!(dialpad.requests("GET users").len(), 2);
}

async fn users_that_can_not_be_listed_say_why(world: World) {
    let mut status = 403;
    let dialpad = ScriptedDialpad::start(move |_: &ScriptedRequest| {
        let reply = Reply::json(status, json!({}));
        status = 404;
        reply
    })
    .await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let refused = users(&server, &app, "").await.refuses(502, "DIALPAD_REFUSED");
    refused.shows(json!({"details": {"dialpad_status": 403}}));
    assert!(refused["error"].as_str().is_some_and(|text| text.contains("administrator")), "{refused}");
    users(&server, &app, "")
        .await
        .refuses(502, "DIALPAD_REFUSED")
        .shows(json!({"details": {"dialpad_status": 404}}));
    let unknown = App { id: uuid::Uuid::now_v7().to_string(), key: app.key };
    users(&server, &unknown, "").await.refuses(404, "APP_NOT_FOUND");
}
