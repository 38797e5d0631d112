//! The banner: the addresses, and commands for another terminal.

use serde_json::{Value, json};

use super::DemoArgs;
use super::setup::Setup;
use crate::commands::output::ColorChoice;
use cti_simulator::DEMO_COMPANY_ID;

/// Returns the banner as JSON.
pub(super) fn json(setup: &Setup) -> Value {
    json!({
        "console_url": setup.create_sign_in_address(),
        "base_url": setup.base_url(),
        "app_id": setup.app.app_id,
        "api_key": setup.app.api_key,
        "simulator_url": setup.simulator.base_url(),
        "database": setup.database(),
        "seed": setup.seed,
    })
}

/// Returns the banner as text.
pub(super) fn text(color: ColorChoice, setup: &Setup, args: &DemoArgs) -> String {
    let server = setup.base_url();
    let socket = server.replacen("http", "ws", 1);
    let simulator = setup.simulator.base_url();
    let end =
        if setup.folder.is_temporary && setup.cluster().is_none() { " (removed at the end)" } else { "" };
    let pace = args.pace;
    let calls = match args.calls {
        Some(1) => "One call".to_owned(),
        Some(calls) => format!("{calls} calls"),
        None => "Calls until Ctrl-C".to_owned(),
    };
    let hint = |text| color.dim(text);
    [
        // The first line is the address alone, so that scripts find it and terminals make it a link.
        setup.create_sign_in_address(),
        hint("the console of the server; this address signs in once, within an hour"),
        String::new(),
        color.bold("A telephone system, a server and a CRM on this machine"),
        format!("  server     {server}{}", servers(setup)),
        format!("  database   {}{end}", setup.database()),
        format!("  Dialpad    {simulator} (simulated; company {DEMO_COMPANY_ID}, seed {})", setup.seed),
        format!("  app        {} (connected with OAuth)", setup.app.app_id),
        format!("  API key    {}", setup.app.api_key),
        String::new(),
        color.bold("Try it from another terminal"),
        format!("  KEY={}", setup.app.api_key),
        hint("  # the active calls"),
        format!("  curl -H \"x-api-key: $KEY\" {server}/api/calls/active"),
        hint("  # the events of this terminal, from the first one on"),
        format!("  websocat -H \"x-api-key: $KEY\" \"{socket}/ws?after=0\""),
        hint("  # one more call, with a hold"),
        format!(
            "  curl {simulator}/simulator/flows -H 'content-type: application/json' -d '{{\"flow\":\"hold\",\"pace\":{pace}}}'"
        ),
        String::new(),
        format!("{} ({}), {} per second, {}", calls, args.flow, args.rate, speed(pace)),
        String::new(),
    ]
    .join("\n")
}

/// Names several servers behind the address.
fn servers(setup: &Setup) -> String {
    let Some(cluster) = setup.cluster() else { return String::new() };
    let each = cluster.servers().map(|(name, base_url)| format!("\n             {name} {base_url}"));
    format!(" (gives each connection to another server){}", each.collect::<String>())
}

fn speed(pace: f64) -> String {
    if pace == 0.0 {
        "without waiting".to_owned()
    } else if pace < 1.0 {
        format!("{:.0} times faster than real calls", 1.0 / pace)
    } else {
        format!("{pace} times as long as real calls")
    }
}
