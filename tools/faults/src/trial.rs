//! One run of one case: a server under load, a fault, and the comparison afterwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::api::{Api, App};
use crate::oracle::{Evidence, Verdict};
use crate::process::{Process, Signal, TICK};
use crate::receiver::Receiver;
use crate::report::Row;
use crate::sender::{Load, Sender};
use crate::site::{ADMIN_SECRET, Kind, Site, WEBHOOK_SECRET};
use crate::tally::{Tally, quantile};
use crate::{Failure, Plan};

/// How long the load runs before and after a fault: seconds, and milliseconds in the short form.
const CALM: (u64, u64) = (3, 700);
pub(crate) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long everything acknowledged may take to be delivered after the load.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an event may come again after the last one.
const DUPLICATE_WAIT: Duration = Duration::from_millis(500);

/// A server under load, with a client on its WebSocket.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) plan: Plan,
    pub(crate) kind: Kind,
    pub(crate) site: Site,
    pub(crate) server: Option<Process>,
    pub(crate) api: Api,
    pub(crate) app: App,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) random: Xoshiro256PlusPlus,
    load: Option<Load>,
    /// The number of the next call that no load has sent.
    next_call: u32,
    tried: u32,
    /// When the first fault began, and the last one ended.
    fault_began: Option<Instant>,
    fault_ended: Option<Instant>,
    recovery: Option<Duration>,
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Trial {
    /// Starts a server and a client at this site.
    pub(crate) async fn start(plan: &Plan, kind: Kind, site: Site) -> Result<Self, Failure> {
        Self::start_on(plan, kind, site, Vec::new()).await
    }

    /// Starts a server and a client; webhooks and the client also go to these servers.
    pub(crate) async fn start_on(
        plan: &Plan,
        kind: Kind,
        site: Site,
        others: Vec<SocketAddr>,
    ) -> Result<Self, Failure> {
        let server = site.start().await?;
        let api = Api::new(site.addr, ADMIN_SECRET)?;
        let app = api.create_app("Faults").await?;
        let servers: Vec<SocketAddr> = [site.addr].into_iter().chain(others).collect();
        let sender = Sender::new(servers.clone(), &app.app_id, WEBHOOK_SECRET, plan.retry_interval())?;
        let receiver = Receiver::start(servers, app.api_key.clone(), Arc::clone(sender.tally()));
        Ok(Self {
            plan: plan.clone(),
            kind,
            site,
            server: Some(server),
            api,
            app,
            sender,
            receiver,
            random: Xoshiro256PlusPlus::seed_from_u64(plan.seed),
            load: None,
            next_call: 0,
            tried: 0,
            fault_began: None,
            fault_ended: None,
            recovery: None,
            problems: Vec::new(),
            notes: Vec::new(),
        })
    }

    pub(crate) fn tally(&self) -> &Tally {
        self.sender.tally()
    }

    /// Starts the load of the plan.
    pub(crate) fn begin_load(&mut self) {
        self.begin_load_of(self.plan.rate);
    }

    /// Starts a load of so many webhooks per second.
    pub(crate) fn begin_load_of(&mut self, rate: u32) {
        self.load = Some(Load::start(&self.sender, self.next_call, rate));
    }

    /// Ends the load. Everything that it sent is acknowledged or given up.
    pub(crate) async fn end_load(&mut self) -> Result<(), Failure> {
        if let Some(load) = self.load.take() {
            self.next_call = load.finish().await?;
        }
        Ok(())
    }

    /// Reserves the numbers of calls that are sent beside the load; not while there is one.
    pub(crate) fn reserve_calls(&mut self, count: u32) -> std::ops::Range<u32> {
        let first = self.next_call;
        self.next_call += count;
        first..self.next_call
    }

    /// Returns a random time between these.
    pub(crate) fn moment(&mut self, min: Duration, max: Duration) -> Duration {
        min + (max - min).mul_f64(self.random.random::<f64>())
    }

    /// Records that a fault begins.
    pub(crate) fn fault_begins(&mut self) {
        self.tried += 1;
        self.fault_began.get_or_insert_with(Instant::now);
    }

    /// Records that it is over.
    pub(crate) fn fault_ends(&mut self) {
        self.fault_ended = Some(Instant::now());
    }

    /// Lets the load run undisturbed for a while.
    pub(crate) async fn calm(&self) {
        sleep(self.plan.time(CALM.0, CALM.1)).await;
    }

    /// Lets a fault come and go so many times, each time after a calm, and waits each time for the recovery.
    pub(crate) async fn rounds(
        &mut self,
        count: u32,
        mut fault: impl AsyncFnMut(&mut Self, u32) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for round in 0..count {
            self.calm().await;
            self.fault_begins();
            fault(self, round).await?;
            self.fault_ends();
            self.recovers().await?;
        }
        Ok(())
    }

    /// Waits until a webhook is acknowledged that was sent after the end of the fault, and until everything that was
    /// acknowledged before is delivered. The longest such time is the recovery time.
    pub(crate) async fn recovers(&mut self) -> Result<(), Failure> {
        let ended = self.fault_ended.unwrap_or_else(Instant::now);
        loop {
            if self.tally().has_answer_since(ended) && self.tally().awaited(ended) == 0 {
                self.recovery = self.recovery.max(Some(ended.elapsed()));
                return Ok(());
            }
            if ended.elapsed() > RECOVERY_TIMEOUT {
                self.problem(format!("no recovery within {RECOVERY_TIMEOUT:?}: {}", self.state().await));
                return Ok(());
            }
            sleep(TICK).await;
        }
    }

    /// Records a fault of the server that the comparison can't see.
    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Records a fault of the server, unless the condition holds.
    pub(crate) fn expect(&mut self, holds: bool, problem: &str) {
        if !holds {
            self.problem(problem.to_owned());
        }
    }

    /// Adds something to the report.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Kills the server.
    pub(crate) fn kill_server(&mut self) -> Result<(), Failure> {
        match self.server.take() {
            Some(mut server) => server.kill(),
            None => Ok(()),
        }
    }

    /// Asks the server to stop (SIGTERM), and waits until it has.
    pub(crate) async fn stop_server(&mut self) -> Result<(), Failure> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server.signal(Signal::TERM)?;
        let status = server.exit(STOP_TIMEOUT).await?;
        self.expect(status.code() == Some(0), &format!("the server ended with {status} after SIGTERM"));
        Ok(())
    }

    /// Starts a server again.
    pub(crate) async fn start_server(&mut self) -> Result<(), Failure> {
        self.server = Some(self.site.start().await?);
        Ok(())
    }

    async fn state(&self) -> String {
        let (status, health) = self.api.health().await.unwrap_or_default();
        let awaited = self.tally().awaited(Instant::now());
        format!("{awaited} webhooks are awaited; /health answers {status} {health}")
    }

    /// Ends the load, waits for everything acknowledged, and compares.
    pub(crate) async fn finish(mut self, case: &str) -> Result<Row, Failure> {
        self.end_load().await?;
        let began = Instant::now();
        while self.tally().awaited(Instant::now()) > 0 && began.elapsed() < DELIVERY_TIMEOUT {
            if let Some(server) = &mut self.server
                && let Some(status) = server.ended()?
            {
                return Err(format!("the server ended by itself with {status}\n{}", server.output()).into());
            }
            sleep(TICK).await;
        }
        sleep(DUPLICATE_WAIT).await;
        let (app, tally) = (self.app.clone(), Arc::clone(self.sender.tally()));
        let listed = self.api.events(&app).await?;
        let statuses = self.api.statuses(&app).await?;
        // What is listed and not received yet is on its way.
        let (asked, last) = (Instant::now(), listed.last().map_or(0, |seen| seen.seq));
        while self.receiver.last_seq() < last && asked.elapsed() < DELIVERY_TIMEOUT {
            sleep(TICK).await;
        }
        let sent = tally.sent();
        let connections = self.receiver.connections();
        if connections > 1 {
            self.notes.push(format!("the client connected {connections} times"));
        }
        for (count, what) in [(tally.spooled(), "spooled"), (tally.refusals(), "refused")] {
            if count > 0 {
                self.notes.push(format!("{count} {what}"));
            }
        }
        self.problems.extend(tally.problems());
        let in_order = tally.in_order();
        let began = self.fault_began;
        let (socket, missed) = self.receiver.finish();
        self.problems.extend(missed);
        let evidence =
            Evidence { sent: &sent, socket: &socket, listed: &listed, statuses: &statuses, in_order };
        let verdict = Verdict::of(&evidence);
        let mut times = tally.times_since(began);
        let is_sound = verdict.is_clean() && self.problems.is_empty();
        let kept = (!is_sound).then(|| self.site.keep());
        if let Some(folder) = kept {
            self.notes.push(format!("the log and the files are in {}", folder.display()));
        }
        Ok(Row {
            case: case.to_owned(),
            database: self.kind.to_string(),
            tried: self.tried,
            verdict: Some(verdict.into()),
            p50: quantile(&mut times, 0.5),
            p99: quantile(&mut times, 0.99),
            recovery: self.recovery,
            problems: self.problems,
            notes: self.notes,
            skipped: None,
        })
    }
}
