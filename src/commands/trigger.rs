//! `cti-server trigger EVENT`: signs one webhook, or those of a whole flow, and posts them to a running server.

mod answer;
mod event;

use std::io::{self, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use reqwest::{Client, Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use super::picture::Look;
use cti_simulator::flows::{self, Family, FlowOptions, Overrides, ScheduledWebhook};
use cti_simulator::signed_webhook::{Signature, SignedWebhook};
use cti_simulator::{DEMO_COMPANY_ID, clock};

use answer::Answer;
pub use event::{Event, UnknownEvent};

/// Signs a webhook as Dialpad would and posts it to a running server
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 every webhook was acknowledged; 1 one was not; 2 the command line is wrong."
)]
pub struct TriggerArgs {
    /// What to trigger: call.ring, call.started, call.held, call.resumed, call.ended, call.raw,
    /// call.recording.completed, voicemail.received, voicemail.updated (only in Dialpad's family), message.received,
    /// message.sent or message.updated; or a whole flow: answered, missed, voicemail, hold, outbound, queue, transfer,
    /// warm-transfer, park, merge or message
    #[arg(value_name = "EVENT")]
    event: Event,

    /// The server
    #[arg(long, value_name = "URL", env = "PUBLIC_URL", default_value = "http://127.0.0.1:4000")]
    url: Url,

    /// Posts to /webhooks/{APP_ID}, where the path decides the app, instead of to /webhooks
    #[arg(long, value_name = "APP_ID")]
    app_id: Option<String>,

    /// The key of the signature; of several, separated by commas, the first
    #[arg(long, value_name = "SECRET", env = "DIALPAD_WEBHOOK_SECRET", hide_env_values = true)]
    secret: SecretString,

    /// The organisation that the webhook names. By default 12345678 in the workflow family without --app-id, else none
    #[arg(long, value_name = "ID")]
    organization_id: Option<i64>,

    /// The call; a new one if left out
    #[arg(long, value_name = "ID")]
    call_id: Option<i64>,

    /// The number that calls or writes
    #[arg(long, value_name = "NUMBER")]
    from: Option<String>,

    /// The number that is called or written to
    #[arg(long, value_name = "NUMBER")]
    to: Option<String>,

    /// The Dialpad user who takes part
    #[arg(long, value_name = "ID")]
    user_id: Option<i64>,

    /// The shape of the payload
    #[arg(long, value_enum, default_value_t = Family::Workflow)]
    family: Family,

    /// The signature: hmac in a header, or jws as the body. By default hmac for the workflow family, jws for Dialpad's
    #[arg(long, value_enum)]
    form: Option<Form>,

    /// Scales the waits of a flow: 1 takes as long as a real call, 0 does not wait
    #[arg(long, default_value_t = 0.0)]
    pace: f64,

    /// Where all chance comes from; another one each time if left out
    #[arg(long)]
    seed: Option<u64>,

    /// Prints a JSON object per webhook: when it was answered, what it was, and the answer
    #[arg(long)]
    json: bool,

    /// Prints without colours, as the environment's NO_COLOR does
    #[arg(long)]
    no_color: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Hmac,
    Jws,
}

/// Why a trigger failed.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// There is nothing to sign with.
    #[error("the webhook secret is empty (--secret or DIALPAD_WEBHOOK_SECRET)")]
    NoSecret,
    /// The waits cannot be scaled by that.
    #[error("--pace must be between 0 and 1000")]
    Pace,
    /// The family has no webhook for the event.
    #[error("the {0:?} family has no webhook for {1}; try the other --family")]
    NoWord(Family, &'static str),
    /// The server's address cannot be extended by a path.
    #[error("--url {0} is not an http(s) address")]
    Url(Url),
    /// At least one webhook was not taken.
    #[error("{refused} of {sent} webhooks were not acknowledged")]
    Refused {
        /// How many were not answered with a 2xx.
        refused: usize,
        /// How many were sent.
        sent: usize,
    },
    /// Nothing can be printed.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// Sends the webhooks and prints a line for each.
///
/// # Errors
///
/// A webhook was not answered with a 2xx; the lines tell which.
pub async fn run(args: TriggerArgs) -> Result<(), TriggerError> {
    if !(0.0..=1_000.0).contains(&args.pace) {
        return Err(TriggerError::Pace);
    }
    let secret = first_secret(&args.secret)?;
    let url = webhook_url(&args.url, args.app_id.as_deref())?;
    let steps = steps(&args, clock::now())?;
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

    let look = Look::choose(args.json, args.no_color);
    let sent = steps.len();
    let mut refused = 0;
    for step in steps {
        tokio::time::sleep(step.after.mul_f64(args.pace)).await;
        let webhook = SignedWebhook::new(url.clone(), &step.payload, signature);
        let answer = Answer::to(&client, &webhook, &step).await;
        if !answer.is_taken() {
            refused += 1;
        }
        let mut out = io::stdout().lock();
        out.write_all(format!("{}\n", answer.shown(look)).as_bytes())?;
        out.flush()?;
    }
    if refused > 0 {
        return Err(TriggerError::Refused { refused, sent });
    }
    Ok(())
}

/// The steps to send: the whole flow, or the one step of it that is the event.
fn steps(args: &TriggerArgs, now: DateTime<Utc>) -> Result<Vec<ScheduledWebhook>, TriggerError> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let (external, internal) =
        if args.event.is_outgoing() { (&args.to, &args.from) } else { (&args.from, &args.to) };
    let mut options = FlowOptions {
        start: now,
        organization_id: organization(args),
        media_base: "https://dialpad.com".to_owned(),
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
        Event::Told(told) => {
            let story = flows::webhooks(told.flow, args.family, seed, &options);
            let found = story.iter().position(|step| told.is(step));
            let index = found.ok_or(TriggerError::NoWord(args.family, told.name))?;
            // The event happens now; what led to it lies in the past.
            options.start = now - story[..=index].iter().map(|step| step.after).sum::<Duration>();
            let step = flows::webhooks(told.flow, args.family, seed, &options).swap_remove(index);
            Ok(vec![ScheduledWebhook { after: Duration::ZERO, ..step }])
        }
    }
}

/// Dialpad's own events never name the company, and behind `--app-id` the path decides.
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
