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
        let running: Running<'_> = match self {
            Self::PowerLoss => Box::pin(power::run(plan)),
            Self::HalfOpen => Box::pin(half_open::run(plan, kind)),
            Self::TwoProcesses => Box::pin(pair::run(plan, kind)),
            Self::DiskFull => Box::pin(disk::full(plan, kind)),
            _ => Box::pin(self.under_load(plan, kind)),
        };
        running.await.unwrap_or_else(|failure| Row::failed(self.name(), &database, failure.to_string()))
    }

    async fn under_load(self, plan: &Plan, kind: Kind) -> Result<Row, Failure> {
        let mut site = Site::create(plan, kind).await?;
        match self {
            Self::ConnectionsCut | Self::ConnectionsDelayed => {
                return postgres::behind_a_proxy(self, plan, site).await;
            }
            Self::Pooler => return pooler::run(plan, site).await,
            Self::Clock => clock::prepare(&mut site)?,
            Self::NoPermission => disk::run_as_other_user(&mut site)?,
            _ => {}
        }
        let mut trial = Trial::start(plan, kind, site).await?;
        match self {
            Self::Kill => process::kill(&mut trial).await?,
            Self::Terminate => process::terminate(&mut trial).await?,
            Self::PostgresStopped => postgres::stopped(&mut trial).await?,
            Self::PostgresRestarted => postgres::restarted(&mut trial).await?,
            Self::PostgresKilled => postgres::killed(&mut trial).await?,
            Self::PostgresFrozen => postgres::frozen(&mut trial).await?,
            Self::OneConnection => postgres_states::one_connection(&mut trial).await?,
            Self::ReadOnly => postgres_states::read_only(&mut trial).await?,
            Self::StatementTimeout => postgres_states::statement_timeout(&mut trial).await?,
            Self::Serialization => postgres_states::serialization(&mut trial).await?,
            Self::NoPermission => disk::no_permission(&mut trial).await?,
            Self::Copies => order::copies(&mut trial).await?,
            Self::Permutations => order::permutations(&mut trial).await?,
            Self::FourHoursLate => order::four_hours_late(&mut trial).await?,
            Self::Poison => poison::poison(&mut trial).await?,
            Self::Clock => clock::set(&mut trial).await?,
            Self::SlowClient => clients::slow(&mut trial).await?,
            Self::Reconnect => clients::reconnect(&mut trial).await?,
            Self::ConnectionsCut
            | Self::ConnectionsDelayed
            | Self::Pooler
            | Self::DiskFull
            | Self::HalfOpen
            | Self::TwoProcesses
            | Self::PowerLoss => unreachable!("these have a setup of their own"),
        }
        trial.finish(self.name()).await
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
