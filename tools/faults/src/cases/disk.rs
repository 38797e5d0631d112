//! The disk is full, or the right to use it is taken away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::postgres::ROLE;
use crate::process::{TICK, other_user};
use crate::report::Row;
use crate::site::{Kind, Site};
use crate::tmpfs::SmallDisk;
use crate::trial::Trial;
use crate::{Case, Failure, Plan};

/// A new PostgreSQL alone has some 40 MB, and writes its log in files of 16 MB.
const POSTGRES_MEBIBYTES: u32 = 192;
const SQLITE_MEBIBYTES: u32 = 48;
/// How long `/health` may take to say that nothing can be kept.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the case in which database and spool share a disk that fills up.
pub(super) async fn full(plan: &Plan, kind: Kind) -> Result<Row, Failure> {
    let folder = tempfile::Builder::new().prefix("cti-faults-disk-").tempdir_in(&plan.folder)?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let size = if kind == Kind::Sqlite { SQLITE_MEBIBYTES } else { POSTGRES_MEBIBYTES };
    let disk = SmallDisk::mount(folder.path().join("disk"), size)?;
    let site = Site::create_on(plan, kind, &disk.path).await?;
    let mut trial = Trial::start(plan, kind, site).await?;
    // A disk of this size is full of events soon.
    trial.begin_load_of(plan.rate.min(200));
    trial.rounds(plan.count(3, 1), async |trial, _| fill_and_free(trial, &disk).await).await?;
    let row = trial.finish(Case::DiskFull.name()).await;
    drop(disk);
    row
}

async fn fill_and_free(trial: &mut Trial, disk: &SmallDisk) -> Result<(), Failure> {
    let (began, before) = (Instant::now(), trial.tally().refusals());
    disk.fill()?;
    while trial.tally().refusals() == before && began.elapsed() < REFUSAL_TIMEOUT {
        // What the database frees is taken as well.
        disk.fill()?;
        sleep(TICK).await;
    }
    trial.expect(trial.tally().refusals() > before, "with a full disk no webhook was answered 503");
    disk.fill()?;
    let is_said = is_unhealthy(trial, disk).await?;
    trial.expect(is_said, &format!("with a full disk /health does not say so within {HEALTH_TIMEOUT:?}"));
    if trial.kind == Kind::Sqlite {
        let status = trial.api.status_of(&trial.app, "/api/calls").await;
        trial.expect(status == Some(200), &format!("with a full disk /api/calls answers {status:?}"));
    }
    sleep(trial.plan.time(5, 500)).await;
    disk.free()?;
    if let Some(cluster) = &mut trial.site.cluster {
        // It ends when it can't write its log.
        sleep(Duration::from_millis(500)).await;
        if cluster.has_ended()? {
            cluster.start().await?;
        }
    }
    Ok(())
}

/// Whether `/health` becomes 503. PostgreSQL may have freed something, and taken a webhook again.
async fn is_unhealthy(trial: &Trial, disk: &SmallDisk) -> Result<bool, Failure> {
    let asked = Instant::now();
    while asked.elapsed() < HEALTH_TIMEOUT {
        disk.fill()?;
        if trial.api.health().await.is_some_and(|(status, _)| status == 503) {
            return Ok(true);
        }
        sleep(TICK).await;
    }
    Ok(false)
}

/// Lets the server run as a user from whom permissions can be taken.
pub(super) fn run_as_other_user(site: &mut Site) -> Result<(), Failure> {
    site.owner = other_user(&["nobody"])?;
    Ok(())
}

pub(super) async fn no_permission(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    let rounds = trial.plan.count(3, 1);
    trial.rounds(rounds, async |trial, _| take_and_give_back(trial).await).await
}

async fn take_and_give_back(trial: &mut Trial) -> Result<(), Failure> {
    let pause = trial.plan.time(8, 1_500);
    if trial.kind == Kind::Postgres {
        let cluster = trial.site.postgres()?;
        let rights = "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public";
        cluster.admin(&format!("REVOKE {rights} FROM {ROLE}")).await?;
        sleep(pause).await;
        return cluster.admin(&format!("GRANT {rights} TO {ROLE}")).await;
    }
    let folder = trial.site.folder().to_owned();
    let closed: Vec<PathBuf> = ["cti.db", "cti.db-wal", "cti.db-shm", "spool"]
        .into_iter()
        .map(|name| folder.join(name))
        .filter(|path| path.exists())
        .chain([folder.clone()])
        .collect();
    let modes: Vec<Permissions> = closed
        .iter()
        .map(|path| fs::metadata(path).map(|file| file.permissions()))
        .collect::<Result<_, _>>()?;
    closed.iter().try_for_each(|path| fs::set_permissions(path, Permissions::from_mode(0o000)))?;
    sleep(pause).await;
    Ok(closed.iter().zip(modes).try_for_each(|(path, mode)| fs::set_permissions(path, mode))?)
}
