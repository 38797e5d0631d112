//! Paging through calls with `Link` until there is no next page.

use serde_json::Value;

use crate::support::{App, Ask, Call, TestServer, World};

on_both_databases![
    pages_follow_each_other_without_gap_or_repetition,
    pages_of_changes_follow_each_other_too,
    pages_keep_their_filters,
    what_happens_meanwhile_disturbs_no_page,
];

const CALLS: i64 = 23;

async fn busy_office(server: &TestServer) -> App {
    let app = server.create_app("CRM").await;
    for id in 1..=CALLS {
        let call = if id % 2 == 0 { Call::new(id).outbound() } else { Call::new(id) };
        // All in one second: the order can't come from the times alone.
        server.webhook(&app, &call.ring(0)).await;
    }
    server.wait_for_events(&app, CALLS as usize).await;
    app
}

/// The Dialpad ids on one page, and where the next one is.
async fn page(server: &TestServer, app: &App, path: &str) -> (Vec<i64>, Option<String>) {
    let answer = server.get(path).by(app).answer().await;
    let ids =
        answer.list().iter().map(|call: &Value| call["dialpad_call_id"].as_i64().expect("an id")).collect();
    (ids, answer.next_page())
}

async fn all_pages(server: &TestServer, app: &App, first: &str) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut path = Some(first.to_owned());
    while let Some(next) = path {
        let (ids, following) = page(server, app, &next).await;
        pages.push(ids);
        path = following;
        assert!(pages.len() <= 2 * CALLS as usize, "the pages have no end");
    }
    pages
}

async fn pages_follow_each_other_without_gap_or_repetition(world: World) {
    let server = world.start().await;
    let app = busy_office(&server).await;
    let newest_first: Vec<i64> = (1..=CALLS).rev().collect();
    for limit in [1, 5, 22, 23, 24] {
        let pages = all_pages(&server, &app, &format!("/api/calls?limit={limit}")).await;
        assert!(pages.iter().all(|page| page.len() <= limit), "{pages:?}");
        assert_eq!(pages.concat(), newest_first, "limit={limit}");
    }
    let (all, next) = page(&server, &app, "/api/calls").await;
    assert_eq!((all, next), (newest_first, None), "fewer than 50 need no second page");
}

async fn pages_of_changes_follow_each_other_too(world: World) {
    let server = world.start().await;
    let app = busy_office(&server).await;
    server.webhook(&app, &Call::new(1).started(5)).await;
    server.wait_for_events(&app, CALLS as usize + 1).await;
    let pages = all_pages(&server, &app, "/api/calls?since=0&limit=4").await;
    let expected: Vec<i64> = (2..=CALLS).chain([1]).collect();
    assert_eq!(pages.concat(), expected);
}

async fn pages_keep_their_filters(world: World) {
    let server = world.start().await;
    let app = busy_office(&server).await;
    let pages = all_pages(&server, &app, "/api/calls?direction=outbound&from=%2B14155551234&limit=3").await;
    let expected: Vec<i64> = (1..=CALLS).rev().filter(|id| id % 2 == 0).collect();
    assert_eq!(pages.concat(), expected);
}

async fn what_happens_meanwhile_disturbs_no_page(world: World) {
    let server = world.start().await;
    let app = busy_office(&server).await;
    let mut seen = Vec::new();
    let mut path = Some("/api/calls?limit=5".to_owned());
    let mut new_call = 1_000;
    while let Some(next) = path {
        let (ids, following) = page(&server, &app, &next).await;
        seen.extend(ids);
        path = following;
        new_call += 1;
        server
            .webhooks(&app, [&Call::new(new_call).ring(0), &Call::new(CALLS).event("call.started", new_call)])
            .await;
        server.feed_once_processed(&app, new_call + 1_000).await;
    }
    let expected: Vec<i64> = (1..=CALLS).rev().collect();
    assert_eq!(seen, expected);
}
