//! The key that secrets are sealed with is changed by two restarts, and nothing has to be connected anew.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::support::{Ask, Dialpad, Process, Shows, World};

on_both_databases![a_key_is_changed_by_two_restarts];

const DONE: &str = "every secret is encrypted with the first TOKEN_ENCRYPTION_KEY";

async fn says_it_is_done(process: &mut Process) {
    process.wait_for_line("that the others can go", |line| line.contains(DONE).then_some(())).await;
}

async fn a_key_is_changed_by_two_restarts(world: World) {
    let dialpad = Dialpad::start().await;
    let old = world.setting("TOKEN_ENCRYPTION_KEY").to_owned();
    let new = BASE64_STANDARD.encode([7; 32]);
    let mut world = world.with_dialpad(&dialpad).with("RETENTION_INTERVAL", "1s");
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;

    server.process.kill();
    world = world.with("TOKEN_ENCRYPTION_KEY", &format!("{new},{old}"));
    server = world.start().await;
    let another = server.create_app("another CRM").await;
    server.connect(&another).await;
    says_it_is_done(&mut server.process).await;

    server.process.kill();
    world = world.with("TOKEN_ENCRYPTION_KEY", &new);
    server = world.start().await;
    dialpad.revoke_tokens(Some("access")).await;
    for (user, app) in (0..).zip([&app, &another]) {
        let order = json!({"dialpad_user_id": Dialpad::USER + user, "phone_number": "+14155551234"});
        let placed = server.post("/api/calls").by(app).json(&order).answer().await;
        assert_eq!(placed.status, 201, "both tokens open: {placed}");
        let status = server.get("/status").by(app).answer().await.ok();
        status.shows(json!({"status": "connected", "problem": null}));
    }
}
