//! `cti-server import`: takes over the database of the predecessor. It can be run again: what is here already is left
//! alone. No events are emitted for what happened before.

mod apps;
mod call;
mod history;
mod report;
mod row;
mod target;
mod webhooks;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::PathBuf,
};

use chrono::{DateTime, Utc};
use cti_actors::{
    clock::{Clock, SystemClock},
    error::StoreError,
    id::AppId,
};
use thiserror::Error;

use self::{report::Report, row::Row, target::Target};
use crate::{
    config::{Config, ConfigError, Needs},
    database_url::{DatabaseUrl, hosts::PostgresHosts},
    startup::StartError,
    store::import::source::{Query, Source},
};

/// Take over the database of the predecessor: apps, connections, user mappings, calls, voicemails, messages, and webhooks
/// that were not processed.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The predecessor's database. It is only read.
    #[arg(long, value_name = "postgres://…", value_parser = postgres_url)]
    pub from: PostgresHosts,
    /// Write nothing, and print what would be taken.
    #[arg(long)]
    pub dry_run: bool,
    /// A settings file that overrides the defaults; environment variables override the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

fn postgres_url(url: &str) -> Result<PostgresHosts, String> {
    match url.parse::<DatabaseUrl>() {
        Ok(DatabaseUrl::Postgres(hosts)) => Ok(hosts),
        Ok(DatabaseUrl::Sqlite(_)) => Err("must begin with postgres://".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Why `import` failed.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configured database can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The configured database failed.
    #[error("the import stopped, and can be run again: {0}")]
    Store(#[from] StoreError),
    /// The source can't be read.
    #[error("the source can't be read: {0}")]
    Source(#[from] sqlx::Error),
    /// The source is not what can be imported.
    #[error("{0}")]
    Refused(String),
    /// The output failed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// A table of the source.
struct Table {
    name: &'static str,
    /// Without these columns it can't be read.
    required: &'static [&'static str],
    /// What is missing of these is named.
    expected: &'static [&'static str],
}

/// The tables that are read, in the order in which they depend on each other.
const TABLES: [Table; 8] = [
    Table {
        name: "apps",
        required: &["id"],
        expected: &["name", "api_key", "is_active", "created_at", "updated_at"],
    },
    Table {
        name: "dialpad_connections",
        required: &["app_id"],
        expected: &[
            "dialpad_org_id",
            "access_token",
            "refresh_token",
            "token_expires_at",
            "environment",
            "created_at",
            "updated_at",
        ],
    },
    Table {
        name: "api_key_audit_log",
        required: &["app_id", "action"],
        expected: &["id", "old_key_hint", "new_key_hint", "created_at"],
    },
    Table {
        name: "dialpad_user_mappings",
        required: &["app_id", "dialpad_user_id", "crm_user_id"],
        expected: &["id", "created_at", "updated_at"],
    },
    Table {
        name: "calls",
        required: &["app_id", "dialpad_call_id"],
        expected: &[
            "direction",
            "from_number",
            "to_number",
            "status",
            "dialpad_user_id",
            "started_at",
            "ended_at",
            "duration_seconds",
            "recording_url",
            "is_voicemail",
            "created_at",
        ],
    },
    Table {
        name: "voicemails",
        required: &["app_id"],
        expected: &[
            "id",
            "dialpad_call_id",
            "dialpad_user_id",
            "from_number",
            "to_number",
            "recording_url",
            "transcript",
            "duration_seconds",
            "created_at",
            "updated_at",
        ],
    },
    Table {
        name: "messages",
        required: &["app_id", "dialpad_message_id"],
        expected: &[
            "direction",
            "from_number",
            "to_number",
            "text",
            "dialpad_user_id",
            "sent_at",
            "created_at",
        ],
    },
    Table {
        name: "webhook_events",
        required: &["payload"],
        expected: &["app_id", "event_type", "received_at"],
    },
];

/// A table that only a database of this server has.
const OWN_TABLE: &str = "event_feeds";

/// An app that rows may belong to.
#[derive(Clone, Copy, Debug)]
struct KnownApp {
    is_active: bool,
    /// Whether this import creates it: nothing of it is here yet.
    is_new: bool,
}

/// An import under way.
struct Import {
    source: Source,
    target: Target,
    report: Report,
    recognized: BTreeSet<&'static str>,
    apps: BTreeMap<AppId, KnownApp>,
    /// The apps of each organization, as far as the source has connected them.
    organizations: BTreeMap<i64, Vec<AppId>>,
    environment: &'static str,
    scopes: String,
    now: DateTime<Utc>,
}

/// Imports a database and prints the report.
///
/// # Errors
/// See [`ImportError`].
pub async fn run(args: ImportArgs) -> Result<(), ImportError> {
    let config = Config::load(args.config.as_deref(), Needs::Database)?;
    let mut source = Source::open(&args.from.writable().await?).await?;
    let mut report = Report::new(args.dry_run);
    let recognized = recognize(&source, &mut report)?;
    let identity = source.identity().await?;
    let target = Target::open(&config, &identity, args.dry_run).await?;
    let mut import = Import {
        source,
        target,
        report,
        recognized,
        apps: BTreeMap::new(),
        organizations: BTreeMap::new(),
        environment: config.environment.as_str(),
        scopes: config.dialpad.scopes.join(" "),
        now: SystemClock.now(),
    };
    let imported = import.all().await;
    let Import { source, target, report, .. } = import;
    source.close().await;
    target.close().await;
    let mut out = io::stdout().lock();
    // Also of an import that stopped half-way: it says how far it came.
    write!(out, "{report}")?;
    imported
}

/// Finds the tables that can be read, and names what is missing or unknown.
fn recognize(source: &Source, report: &mut Report) -> Result<BTreeSet<&'static str>, ImportError> {
    if source.has_table(OWN_TABLE) {
        let problem = "the source is a database of cti-server itself, not one of its predecessor";
        return Err(ImportError::Refused(problem.to_owned()));
    }
    let mut recognized = BTreeSet::new();
    for Table { name, required, expected } in &TABLES {
        let lacks = |columns: &[&'static str]| -> Vec<&str> {
            columns.iter().copied().filter(|column| !source.has_column(name, column)).collect()
        };
        let (unusable, missing) = (lacks(required), lacks(expected));
        if !source.has_table(name) {
            report.differences.push(format!("there is no table {name}"));
        } else if !unusable.is_empty() {
            report.differences.push(format!("{name} can't be read: it has no {}", unusable.join(", ")));
        } else {
            recognized.insert(*name);
            if !missing.is_empty() {
                report.differences.push(format!("{name} has no {}", missing.join(", ")));
            }
        }
    }
    let unknown = source.tables().filter(|table| TABLES.iter().all(|known| known.name != *table));
    report.differences.extend(unknown.map(|table| format!("{table} is not read")));
    if recognized.is_empty() {
        let problem = format!("nothing was recognized in the source\n{}", report.differences.join("\n"));
        return Err(ImportError::Refused(problem));
    }
    Ok(recognized)
}

impl Import {
    async fn all(&mut self) -> Result<(), ImportError> {
        self.apps().await?;
        self.connections().await?;
        self.audit_log().await?;
        self.user_mappings().await?;
        self.calls().await?;
        self.voicemails().await?;
        self.messages().await?;
        self.webhooks().await
    }

    /// Begins to read a table. Returns whether it can be read.
    async fn begin(
        &mut self,
        table: &'static str,
        condition: &str,
        order: &'static [&'static str],
    ) -> Result<bool, ImportError> {
        let is_recognized = self.recognized.contains(table);
        if is_recognized {
            self.report.table(table);
            self.source.begin(&Query { table, condition, order }).await?;
        }
        Ok(is_recognized)
    }

    /// Returns the next rows; none after the last one.
    async fn page(&mut self) -> Result<Vec<Row>, ImportError> {
        Ok(self.source.page().await?.into_iter().map(Row::read).collect())
    }

    /// Returns the app of a row, or why there is none.
    async fn app_of(&mut self, row: &Row) -> Result<Result<AppId, String>, ImportError> {
        let Some(app) = row.uuid("app_id").map(AppId) else {
            return Ok(Err("it belongs to no app".to_owned()));
        };
        if self.apps.contains_key(&app) {
            return Ok(Ok(app));
        }
        let Some(is_active) = self.target.is_active(app).await? else {
            return Ok(Err(format!("its app {app} is not there")));
        };
        self.apps.insert(app, KnownApp { is_active, is_new: false });
        Ok(Ok(app))
    }

    /// Notes what did not fit in a row.
    fn note_problems(&mut self, table: &'static str, row: &Row) {
        for problem in row.take_problems() {
            self.report.table(table).note(&row.name(), &problem);
        }
    }
}
