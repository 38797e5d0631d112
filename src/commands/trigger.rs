//! `cti-server trigger EVENT`: signs one webhook, or all webhooks of a flow, and posts them to a running server.

mod answer;
mod event;
mod simulated;

use std::io::{self, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use reqwest::{Client, Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use super::output::Format;
use cti_simulator::flows::{self, Family, FlowOptions, Overrides, ScheduledWebhook};
use cti_simulator::signed_webhook::{Signature, SignedWebhook};
use cti_simulator::{DEMO_COMPANY_ID, clock};

use answer::Answer;
pub use event::{Event, UnknownEvent};
use simulated::SimulatedDialpad;

/// Signs a webhook as Dialpad would and posts it to a running server
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 every webhook was acknowledged; 1 one was not; 2 the command line is wrong."
)]
pub struct TriggerArgs {
    /// call.ring, call.started, call.held, call.resumed, call.ended, call.raw, call.recording.completed,
    /// voicemail.received, voicemail.updated (only with --family dialpad), message.received, message.sent or
    /// message.updated; or a flow: answered, missed, voicemail, hold, outbound, queue, abandoned, queue-voicemail,
    /// blocked, unanswered, transfer, warm-transfer, park, merge or message
    #[arg(value_name = "EVENT")]
    event: Event,

    /// The server
    #[arg(long, value_name = "URL", env = "PUBLIC_URL", default_value = "http://127.0.0.1:4000")]
    url: Url,

    /// Posts to /webhooks/{APP_ID} instead of /webhooks
    #[arg(long, value_name = "APP_ID")]
    app_id: Option<String>,

    /// The secret to sign with; of several, separated by commas, the first
    #[arg(long, value_name = "SECRET", env = "DIALPAD_WEBHOOK_SECRET", hide_env_values = true)]
    secret: SecretString,

    /// The organization that the webhook names; by default 12345678 in the workflow family without --app-id, else none
    #[arg(long, value_name = "ID")]
    organization_id: Option<i64>,

    /// The id of the call; by default a new one
    #[arg(long, value_name = "ID")]
    call_id: Option<i64>,

    /// The calling or sending number
    #[arg(long, value_name = "NUMBER")]
    from: Option<String>,

    /// The called or receiving number
    #[arg(long, value_name = "NUMBER")]
    to: Option<String>,

    /// The Dialpad user who takes part
    #[arg(long, value_name = "ID")]
    user_id: Option<i64>,

    /// The payload family
    #[arg(long, value_enum, default_value_t = Family::Workflow)]
    family: Family,

    /// The simulator that gets to know the calls, so that their recordings can be played
    #[arg(long, value_name = "URL", env = "DIALPAD_SANDBOX_BASE_URL")]
    simulator: Option<Url>,

    /// The signature: hmac in a header, or jws as the body; by default hmac for the workflow family, jws for Dialpad's
    #[arg(long, value_enum)]
    form: Option<Form>,

    /// Scales the waits of a flow: 1 is as long as a real call, 0 does not wait
    #[arg(long, default_value_t = 0.0)]
    pace: f64,

    /// The seed of all random choices; by default another one each time
    #[arg(long)]
    seed: Option<u64>,

    /// Prints a JSON object per webhook: when it was answered, its event, and the answer
    #[arg(long)]
    json: bool,

    /// Prints without colors, like the environment variable NO_COLOR
    #[arg(long)]
    no_color: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Hmac,
    Jws,
}

/// Why `trigger` failed.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// The webhook secret is empty.
    #[error("the webhook secret is empty (--secret or DIALPAD_WEBHOOK_SECRET)")]
    NoSecret,
    /// The pace is out of range.
    #[error("--pace must be between 0 and 1000")]
    Pace,
    /// The payload family has no webhook for the event.
    #[error("the {0:?} family has no webhook for {1}; try the other --family")]
    NotInFamily(Family, &'static str),
    /// The server's address is invalid.
    #[error("--url {0} is not an http(s) address")]
    Url(Url),
    /// At least one webhook was not acknowledged.
    #[error("{refused} of {sent} webhooks were not acknowledged")]
    Refused {
        /// How many were not answered with 2xx.
        refused: usize,
        /// How many were sent.
        sent: usize,
    },
    /// The output failed.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// Sends the webhooks and prints a line for each.
///
/// # Errors
///
/// Fails if a webhook was not answered with 2xx; the output shows which.
pub async fn run(args: TriggerArgs) -> Result<(), TriggerError> {
    if !(0.0..=1_000.0).contains(&args.pace) {
        return Err(TriggerError::Pace);
    }
    let secret = first_secret(&args.secret)?;
    let url = webhook_url(&args.url, args.app_id.as_deref())?;
    let mut simulator = args.simulator.as_ref().and_then(SimulatedDialpad::new);
    let media_base = simulator.as_ref().map_or("https://dialpad.com", SimulatedDialpad::base_url);
    let webhooks = webhooks(&args, media_base, clock::now())?;
    let client = Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(redirect::Policy::none())
        .build()
        .expect("the TLS backend is compiled in");
    let form = args.form.unwrap_or(match args.family {
        Family::Workflow => Form::Hmac,
        Family::Dialpad => Form::Jws,
    });
    let signature = match form {
        Form::Hmac => Signature::Hmac(secret),
        Form::Jws => Signature::Jws(secret),
    };

    let format = Format::choose(args.json, args.no_color);
    let sent = webhooks.len();
    let mut refused = 0;
    for scheduled in webhooks {
        tokio::time::sleep(scheduled.after.mul_f64(args.pace)).await;
        if let (Some(simulator), Some(call)) = (&mut simulator, &scheduled.call) {
            simulator.record(&client, call).await;
        }
        let signed = SignedWebhook::new(url.clone(), &scheduled.payload, signature);
        let answer = Answer::receive(&client, &signed, &scheduled).await;
        if !answer.is_acknowledged() {
            refused += 1;
        }
        let mut out = io::stdout().lock();
        out.write_all(format!("{}\n", answer.render(format)).as_bytes())?;
        out.flush()?;
    }
    if refused > 0 {
        return Err(TriggerError::Refused { refused, sent });
    }
    Ok(())
}

/// Returns the webhooks to send: all of the flow, or the one that causes the event.
fn webhooks(
    args: &TriggerArgs,
    media_base: &str,
    now: DateTime<Utc>,
) -> Result<Vec<ScheduledWebhook>, TriggerError> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let (external, internal) =
        if args.event.is_outgoing() { (&args.to, &args.from) } else { (&args.from, &args.to) };
    let mut options = FlowOptions {
        start: now,
        organization_id: organization(args),
        media_base: media_base.to_owned(),
        time_scale: 1.0,
        overrides: Overrides {
            call_id: args.call_id,
            external_number: external.clone(),
            internal_number: internal.clone(),
            user_id: args.user_id,
            custom_data: None,
        },
    };
    match args.event {
        Event::Flow(flow) => {
            options.start = flows::start_for(now, flows::duration(flow, args.family, seed), args.pace);
            Ok(flows::webhooks(flow, args.family, seed, &options))
        }
        Event::Single(single) => {
            let webhooks = flows::webhooks(single.flow, args.family, seed, &options);
            let found = webhooks.iter().position(|webhook| single.matches(webhook));
            let index = found.ok_or(TriggerError::NotInFamily(args.family, single.name))?;
            // The event happens now; the steps before it lie in the past.
            options.start = now - webhooks[..=index].iter().map(|webhook| webhook.after).sum::<Duration>();
            let webhook = flows::webhooks(single.flow, args.family, seed, &options).swap_remove(index);
            Ok(vec![ScheduledWebhook { after: Duration::ZERO, ..webhook }])
        }
    }
}

/// Returns the organization that the payload names: Dialpad's own events name none, and with `--app-id` the path decides.
fn organization(args: &TriggerArgs) -> Option<i64> {
    match args.family {
        Family::Workflow if args.app_id.is_none() => Some(args.organization_id.unwrap_or(DEMO_COMPANY_ID)),
        Family::Workflow | Family::Dialpad => args.organization_id,
    }
}

fn first_secret(secrets: &SecretString) -> Result<&str, TriggerError> {
    let first = secrets.expose_secret().split(',').next().map(str::trim);
    first.filter(|secret| !secret.is_empty()).ok_or(TriggerError::NoSecret)
}

fn webhook_url(server: &Url, app_id: Option<&str>) -> Result<String, TriggerError> {
    let mut url = server.clone();
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TriggerError::Url(url));
    }
    url.set_query(None);
    url.path_segments_mut()
        .expect("http(s) addresses have paths")
        .pop_if_empty()
        .push("webhooks")
        .extend(app_id);
    Ok(url.into())
}

#[cfg(test)]
mod tests;
