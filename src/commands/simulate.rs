//! `cti-server simulate`: the Dialpad simulator alone, so that `serve` can be tried end to end without an account.

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
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4010")]
    listen: SocketAddr,

    /// The OAuth client that is known
    #[arg(long, value_name = "ID", default_value = "demo-client")]
    client_id: String,

    /// The client's secret
    #[arg(long, value_name = "SECRET", default_value = "demo-secret")]
    client_secret: String,

    /// A static API key that is as good as a token
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,

    /// The company that connections belong to
    #[arg(long, value_name = "ID", default_value_t = DEMO_COMPANY_ID)]
    company_id: i64,

    /// Who approves connections: nobody has to, or a person on a page
    #[arg(long, value_enum, default_value_t = Approve::Auto)]
    approve: Approve,

    /// Where all chance comes from; another one each time if left out
    #[arg(long)]
    seed: Option<u64>,

    /// Keeps calling whoever subscribed: answered, missed, voicemail, hold, outbound, queue, transfer, warm-transfer,
    /// park, merge, message or mixed
    #[arg(long, value_name = "NAME")]
    flow: Option<FlowChoice>,

    /// How many calls begin in a second
    #[arg(long, requires = "flow", value_name = "PER_SECOND", default_value_t = 0.2)]
    rate: f64,

    /// How many calls in all; without it, until Ctrl-C
    #[arg(long, requires = "flow", value_name = "N")]
    calls: Option<u64>,

    /// The shape of the payloads
    #[arg(long, requires = "flow", value_enum, default_value_t = Family::Dialpad)]
    family: Family,

    /// Turns a switch, such as enforce_scopes=true; may be given several times
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    switches: Vec<SwitchSetting>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Approve {
    Auto,
    Page,
}

/// Why the simulator could not run.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The address is taken or not ours, or the terminal is gone.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The flow cannot be played like that.
    #[error("--flow: {0}")]
    Flow(#[from] InvalidFlowRequest),
    /// The switches cannot be turned like that.
    #[error("--switch: {0}")]
    Switch(#[from] InvalidSwitch),
    /// Nothing can be printed, or Ctrl-C cannot be waited for.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// Runs until Ctrl-C.
///
/// # Errors
///
/// The address cannot be listened on, or the flow cannot be played.
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
    greet(&args, simulator.base_url(), seed)?;
    if let Some(flow) = args.flow {
        let request = FlowRequest {
            calls: args.calls,
            rate: args.rate,
            seed: Some(seed),
            family: args.family,
            // Calls that nobody hears are no use to anybody who counts them.
            wait_for_subscriber: true,
            ..FlowRequest::new(flow)
        };
        simulator.play(request)?;
    }
    tokio::signal::ctrl_c().await?;
    simulator.stop().await;
    Ok(())
}

fn greet(args: &SimulateArgs, base_url: &str, seed: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Dialpad simulator on {base_url} (company {}, seed {seed})", args.company_id)?;
    writeln!(out)?;
    writeln!(out, "Let a server use it:")?;
    writeln!(out, "  export DIALPAD_SANDBOX_BASE_URL={base_url}")?;
    writeln!(out, "  export DIALPAD_SANDBOX_CLIENT_ID={}", args.client_id)?;
    writeln!(out, "  export DIALPAD_SANDBOX_CLIENT_SECRET={}", args.client_secret)?;
    writeln!(out, "  cti-server serve")?;
    writeln!(out)?;
    match args.flow {
        Some(flow) => {
            let calls = args.calls.map_or_else(String::new, |calls| format!(", {calls} in all"));
            writeln!(out, "Calls ({flow}, {} per second{calls}) begin when somebody subscribes.", args.rate)?;
        }
        None => {
            writeln!(out, "Let the telephone ring:")?;
            writeln!(
                out,
                "  curl {base_url}/simulator/flows -H 'content-type: application/json' -d '{{\"flow\":\"answered\"}}'"
            )?;
        }
    }
    writeln!(out, "Ctrl-C ends it.")?;
    out.flush()
}
