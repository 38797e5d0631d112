//! The head of the output: what runs where, and how to play on from another terminal.

use serde_json::{Value, json};

use super::DemoArgs;
use super::stage::Stage;
use crate::commands::picture::Paint;
use cti_simulator::DEMO_COMPANY_ID;

/// For programs.
pub(super) fn facts(stage: &Stage) -> Value {
    json!({
        "base_url": stage.base_url(),
        "app_id": stage.app.app_id,
        "api_key": stage.app.api_key,
        "simulator_url": stage.simulator.base_url(),
        "database": stage.database().display().to_string(),
        "seed": stage.seed,
    })
}

/// For people.
pub(super) fn text(paint: Paint, stage: &Stage, args: &DemoArgs) -> String {
    let server = stage.base_url();
    let socket = server.replacen("http", "ws", 1);
    let simulator = stage.simulator.base_url();
    let end = if stage.folder.is_temporary { " (removed at the end)" } else { "" };
    let pace = args.pace;
    let calls = match args.calls {
        Some(1) => "One call".to_owned(),
        Some(calls) => format!("{calls} calls"),
        None => "Calls until Ctrl-C".to_owned(),
    };
    let hint = |text| paint.dim(text);
    [
        paint.bold("A telephone system, a server and a CRM, all on this machine"),
        format!("  server     {server}"),
        format!("  database   {}{end}", stage.database().display()),
        format!("  Dialpad    {simulator} (simulated; company {DEMO_COMPANY_ID}, seed {})", stage.seed),
        format!("  app        {} (connected with OAuth)", stage.app.app_id),
        format!("  API key    {}", stage.app.api_key),
        String::new(),
        paint.bold("Play on, from another terminal"),
        format!("  KEY={}", stage.app.api_key),
        hint("  # the calls that are going on now"),
        format!("  curl -H \"x-api-key: $KEY\" {server}/api/calls/active"),
        hint("  # what this terminal shows, from the first event on"),
        format!("  websocat -H \"x-api-key: $KEY\" \"{socket}/ws?after=0\""),
        hint("  # one more call, with a hold in it"),
        format!(
            "  curl {simulator}/simulator/flows -H 'content-type: application/json' -d '{{\"flow\":\"hold\",\"pace\":{pace}}}'"
        ),
        String::new(),
        format!("{} ({}), {} a second, {}", calls, args.flow, args.rate, speed(pace)),
        String::new(),
    ]
    .join("\n")
}

fn speed(pace: f64) -> String {
    if pace == 0.0 {
        "without waiting".to_owned()
    } else if pace < 1.0 {
        format!("{:.0} times faster than life", 1.0 / pace)
    } else {
        format!("{pace} times as long as in life")
    }
}
