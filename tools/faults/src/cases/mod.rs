//! The faults, one file per family.

mod clients;
mod clock;
mod disk;
mod half_open;
mod order;
mod pair;
mod poison;
mod pooler;
mod postgres;
mod postgres_states;
mod process;

use std::pin::Pin;

use crate::report::Row;
use crate::site::{Kind, Site};
use crate::trial::Trial;
use crate::{Failure, Plan, power};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Case {
    /// `kill -9` at random moments, also during the start
    Kill,
    /// SIGTERM at random moments
    Terminate,
    /// PostgreSQL is stopped for a minute
    PostgresStopped,
    /// PostgreSQL is restarted
    PostgresRestarted,
    /// PostgreSQL is killed, at once or with all its processes
    PostgresKilled,
    /// PostgreSQL does not answer, and does not end its connections
    PostgresFrozen,
    /// The connections to PostgreSQL end, again and again
    ConnectionsCut,
    /// Everything to and from PostgreSQL takes five seconds
    ConnectionsDelayed,
    /// PostgreSQL gives the server one connection
    OneConnection,
    /// PostgreSQL accepts no writes for a while
    ReadOnly,
    /// Locks outlast the statement timeout
    StatementTimeout,
    /// Transactions are refused because of others, and rows are locked elsewhere
    Serialization,
    /// PgBouncer in transaction mode, and its restart
    Pooler,
    /// The disk of the database and of the spool is full
    DiskFull,
    /// The right to write is taken away
    NoPermission,
    /// Each webhook a hundred times at once
    Copies,
    /// The webhooks of a call in every order
    Permutations,
    /// Webhooks that are four hours old
    FourHoursLate,
    /// A webhook that the database refuses
    Poison,
    /// The wall clock is set forwards and backwards, by hours, days and a month
    Clock,
    /// Clients that vanish without a word
    HalfOpen,
    /// A client that reads 1 KB per second
    SlowClient,
    /// Thousands of clients that reconnect at once
    Reconnect,
    /// Two processes on one database
    TwoProcesses,
    /// The power fails: what was not synced is lost, torn or in another order
    PowerLoss,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Row, Failure>> + 'a>>;

impl Case {
    /// Returns the name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the fault exists on this kind of database.
    pub(crate) fn concerns(self, kind: Kind) -> bool {
        match self {
            Self::PostgresStopped
            | Self::PostgresRestarted
            | Self::PostgresKilled
            | Self::PostgresFrozen
            | Self::ConnectionsCut
            | Self::ConnectionsDelayed
            | Self::OneConnection
            | Self::ReadOnly
            | Self::StatementTimeout
            | Self::Serialization
            | Self::Pooler => kind == Kind::Postgres,
            // What PostgreSQL makes of a power loss is its own affair.
            Self::PowerLoss => kind == Kind::Sqlite,
            _ => true,
        }
    }

    /// Carries out the case.
    pub(crate) async fn run(self, plan: &Plan, kind: Kind) -> Row {
        let database = kind.to_string();
        let missing = self.missing(plan).or_else(|| {
            (kind == Kind::Postgres && !crate::postgres::is_installed())
                .then(|| "PostgreSQL is not installed".to_owned())
        });
        if let Some(reason) = missing {
            return Row::skipped(self.name(), &database, reason);
        }
        let running = self.running(plan, kind);
        running.await.unwrap_or_else(|failure| Row::failed(self.name(), &database, failure.to_string()))
    }

    /// Returns what carries it out.
    fn running<'a>(self, plan: &'a Plan, kind: Kind) -> Running<'a> {
        match self {
            Self::Kill => self.under_load(plan, kind, process::kill),
            Self::Terminate => self.under_load(plan, kind, process::terminate),
            Self::PostgresStopped => self.under_load(plan, kind, postgres::stopped),
            Self::PostgresRestarted => self.under_load(plan, kind, postgres::restarted),
            Self::PostgresKilled => self.under_load(plan, kind, postgres::killed),
            Self::PostgresFrozen => self.under_load(plan, kind, postgres::frozen),
            Self::ConnectionsCut => Box::pin(postgres::behind_a_proxy(self, plan, postgres::cut)),
            Self::ConnectionsDelayed => Box::pin(postgres::behind_a_proxy(self, plan, postgres::delayed)),
            Self::OneConnection => self.under_load(plan, kind, postgres_states::one_connection),
            Self::ReadOnly => self.under_load(plan, kind, postgres_states::read_only),
            Self::StatementTimeout => self.under_load(plan, kind, postgres_states::statement_timeout),
            Self::Serialization => self.under_load(plan, kind, postgres_states::serialization),
            Self::Pooler => Box::pin(pooler::run(plan)),
            Self::DiskFull => Box::pin(disk::full(plan, kind)),
            Self::NoPermission => self.prepared(plan, kind, disk::run_as_other_user, disk::no_permission),
            Self::Copies => self.under_load(plan, kind, order::copies),
            Self::Permutations => self.under_load(plan, kind, order::permutations),
            Self::FourHoursLate => self.under_load(plan, kind, order::four_hours_late),
            Self::Poison => self.under_load(plan, kind, poison::poison),
            Self::Clock => self.prepared(plan, kind, clock::prepare, clock::set),
            Self::HalfOpen => Box::pin(half_open::run(plan, kind)),
            Self::SlowClient => self.under_load(plan, kind, clients::slow),
            Self::Reconnect => self.under_load(plan, kind, clients::reconnect),
            Self::TwoProcesses => Box::pin(pair::run(plan, kind)),
            Self::PowerLoss => Box::pin(power::run(plan)),
        }
    }

    /// Lets a fault come to a server on a new database, as it is.
    fn under_load<'a>(
        self,
        plan: &'a Plan,
        kind: Kind,
        fault: impl AsyncFnOnce(&mut Trial) -> Result<(), Failure> + 'a,
    ) -> Running<'a> {
        self.prepared(plan, kind, |_| Ok(()), fault)
    }

    /// The same, after its site was changed.
    fn prepared<'a>(
        self,
        plan: &'a Plan,
        kind: Kind,
        prepare: fn(&mut Site) -> Result<(), Failure>,
        fault: impl AsyncFnOnce(&mut Trial) -> Result<(), Failure> + 'a,
    ) -> Running<'a> {
        Box::pin(async move {
            let mut site = Site::create(plan, kind).await?;
            prepare(&mut site)?;
            let mut trial = Trial::start(plan, kind, site).await?;
            fault(&mut trial).await?;
            trial.finish(self.name()).await
        })
    }

    /// Returns what this machine lacks for the case.
    fn missing(self, plan: &Plan) -> Option<String> {
        match self {
            Self::Pooler => needs("pgbouncer"),
            Self::Clock => clock::missing(),
            Self::DiskFull => crate::tmpfs::mountable(&plan.folder).err(),
            Self::NoPermission => needs_root(),
            Self::HalfOpen => needs_root().or_else(|| needs("unshare")).or_else(|| needs("ip")),
            Self::PowerLoss => needs("cc"),
            _ => None,
        }
    }
}

fn needs(program: &str) -> Option<String> {
    crate::process::installed(program).is_none().then(|| format!("{program} is not installed"))
}

fn needs_root() -> Option<String> {
    (!rustix::process::geteuid().is_root()).then(|| "only root can do this".to_owned())
}
