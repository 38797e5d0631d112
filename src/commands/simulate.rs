//! `cti-server simulate`: the Dialpad simulator alone, to try `serve` end to end without an account.

use std::io::{self, Write};
use std::net::SocketAddr;

use clap::ValueEnum;

use cti_simulator::flows::Family;
use cti_simulator::{
    Approval, DEMO_COMPANY_ID, FlowChoice, FlowRequest, InvalidFlowRequest, InvalidSwitch, Simulator,
    SimulatorOptions, SwitchSetting, Switches,
};

/// Runs a Dialpad simulator: OAuth, REST API and signed webhooks
#[derive(clap::Args)]
pub struct SimulateArgs {
    /// The address to listen on; port 0 is any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4010")]
    listen: SocketAddr,

    /// The OAuth client id that it accepts
    #[arg(long, value_name = "ID", default_value = "demo-client")]
    client_id: String,

    /// The client's secret
    #[arg(long, value_name = "SECRET", default_value = "demo-secret")]
    client_secret: String,

    /// A static API key that it accepts like a token
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,

    /// The company of connections
    #[arg(long, value_name = "ID", default_value_t = DEMO_COMPANY_ID)]
    company_id: i64,

    /// Who approves connections: auto approves at once, page asks a person
    #[arg(long, value_enum, default_value_t = Approve::Auto)]
    approve: Approve,

    /// The seed of all random choices; by default another one each time
    #[arg(long)]
    seed: Option<u64>,

    /// Plays this flow to all subscribers: answered, missed, voicemail, hold, outbound, queue, abandoned,
    /// queue-voicemail, blocked, unanswered, transfer, warm-transfer, park, merge, message or mixed
    #[arg(long, value_name = "NAME")]
    flow: Option<FlowChoice>,

    /// Calls per second
    #[arg(long, requires = "flow", value_name = "PER_SECOND", default_value_t = 0.2)]
    rate: f64,

    /// The number of calls; without it, until Ctrl-C
    #[arg(long, requires = "flow", value_name = "N")]
    calls: Option<u64>,

    /// The payload family
    #[arg(long, requires = "flow", value_enum, default_value_t = Family::Dialpad)]
    family: Family,

    /// Sets a switch, such as enforce_scopes=true; may be given several times
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    switches: Vec<SwitchSetting>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Approve {
    Auto,
    Page,
}

/// Why `simulate` failed.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The address can't be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The flow can't be played with these options.
    #[error("--flow: {0}")]
    Flow(#[from] InvalidFlowRequest),
    /// A switch is unknown, or its value is not allowed.
    #[error("--switch: {0}")]
    Switch(#[from] InvalidSwitch),
    /// The output or the signal failed.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// Runs until Ctrl-C.
///
/// # Errors
///
/// Fails if the address can't be bound or the flow can't be played.
pub async fn run(args: SimulateArgs) -> Result<(), SimulateError> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let options = SimulatorOptions {
        listen: args.listen,
        client_id: args.client_id.clone(),
        client_secret: args.client_secret.clone(),
        api_key: args.api_key.clone(),
        company_id: args.company_id,
        approval: match args.approve {
            Approve::Auto => Approval::Automatic,
            Approve::Page => Approval::Page,
        },
        seed,
        switches: Switches::default().changed(&SwitchSetting::all(args.switches.clone()))?,
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(options)
        .await
        .map_err(|source| SimulateError::Listen { address: args.listen, source })?;
    print_banner(&args, simulator.base_url(), seed)?;
    if let Some(flow) = args.flow {
        let request = FlowRequest {
            calls: args.calls,
            rate: args.rate,
            seed: Some(seed),
            family: args.family,
            // Webhooks without a subscriber would not be delivered.
            wait_for_subscriber: true,
            ..FlowRequest::new(flow)
        };
        simulator.play(request)?;
    }
    tokio::signal::ctrl_c().await?;
    simulator.stop().await;
    Ok(())
}

fn print_banner(args: &SimulateArgs, base_url: &str, seed: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Dialpad simulator on {base_url} (company {}, seed {seed})", args.company_id)?;
    writeln!(out)?;
    writeln!(out, "Connect a server to it:")?;
    writeln!(out, "  export DIALPAD_SANDBOX_BASE_URL={base_url}")?;
    writeln!(out, "  export DIALPAD_SANDBOX_CLIENT_ID={}", args.client_id)?;
    writeln!(out, "  export DIALPAD_SANDBOX_CLIENT_SECRET={}", args.client_secret)?;
    writeln!(out, "  cti-server serve")?;
    writeln!(out)?;
    match args.flow {
        Some(flow) => {
            let calls = args.calls.map_or_else(String::new, |calls| format!(", {calls} in all"));
            writeln!(out, "Calls ({flow}, {} per second{calls}) start once somebody subscribes.", args.rate)?;
        }
        None => {
            writeln!(out, "Play a call:")?;
            writeln!(
                out,
                "  curl {base_url}/simulator/flows -H 'content-type: application/json' -d '{{\"flow\":\"answered\"}}'"
            )?;
        }
    }
    writeln!(out, "Press Ctrl-C to stop.")?;
    out.flush()
}
