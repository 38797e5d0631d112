//! A second process is started on the same database, as after a mistake in a deployment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::report::Row;
use crate::site::{Kind, Site, free_port};
use crate::trial::Trial;
use crate::{Case, Failure, Plan};

pub(super) async fn run(plan: &Plan, kind: Kind) -> Result<Row, Failure> {
    let site = Site::create(plan, kind).await?;
    let port = free_port()?;
    let second: BTreeMap<String, String> = [
        ("PORT", port.to_string()),
        // The spool has a lock of its own.
        ("SPOOL_DIR", site.folder().join("second-spool").display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    match kind {
        Kind::Sqlite => refused(plan, site, &second).await,
        Kind::Postgres => shared(plan, site, &second, port).await,
    }
}

/// On SQLite the second one does not start, and the first one takes no notice.
async fn refused(plan: &Plan, site: Site, second: &BTreeMap<String, String>) -> Result<Row, Failure> {
    let mut trial = Trial::start(plan, Kind::Sqlite, site).await?;
    trial.begin_load();
    trial
        .rounds(plan.count(10, 2), async |trial, _| {
            let mut process = trial.site.spawn(second)?;
            let status = process.exit(Duration::from_secs(30)).await?;
            let is_refused = status.code() == Some(1) && process.output().contains("another server");
            trial.expect(is_refused, &format!("a second server ended with {status}"));
            Ok(())
        })
        .await?;
    trial.finish(Case::TwoProcesses.name()).await
}

/// On PostgreSQL both work. The webhooks of each call go to them in turn, and each is killed while the other goes on.
async fn shared(
    plan: &Plan,
    site: Site,
    settings: &BTreeMap<String, String>,
    port: u16,
) -> Result<Row, Failure> {
    let mut second = site.start_with(settings).await?;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let mut trial = Trial::start_on(plan, Kind::Postgres, site, vec![addr]).await?;
    trial.begin_load_of(plan.rate / 2);
    trial
        .rounds(plan.count(10, 2), async |trial, round| {
            let pause = trial.moment(Duration::ZERO, Duration::from_secs(3));
            if round % 2 == 0 {
                trial.kill_server()?;
                sleep(pause).await;
                trial.start_server().await?;
            } else {
                second.kill()?;
                sleep(pause).await;
                second = trial.site.start_with(settings).await?;
            }
            Ok(())
        })
        .await?;
    let row = trial.finish(Case::TwoProcesses.name()).await;
    drop(second);
    row
}
