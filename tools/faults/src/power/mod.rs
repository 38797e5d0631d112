//! The power fails. A library ([`recorder.c`](recorder.c)) records what the server writes and syncs. Of the recording,
//! images of the disk are made: of many moments, without what was not synced by then, or with a part of it. On each image
//! the server is started again. What was acknowledged before the moment must be there, and what a client had received must
//! be as it was.

mod disk;
mod recording;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use sqlx::{Connection, SqliteConnection};
use tokio::time::sleep;

use self::disk::{Disk, Loss};
use self::recording::{Entry, parse};
use crate::api::{Api, App};
use crate::call::Step;
use crate::oracle::{Evidence, Outcome, Seen, Sent, Verdict};
use crate::process::{Signal, TICK, run as run_command};
use crate::report::Row;
use crate::site::{ADMIN_SECRET, Kind, Site};
use crate::trial::Trial;
use crate::{Case, Failure, Plan};

const RECORDER: &str = include_str!("recorder.c");
/// How long the database is locked at a time, so that webhooks go to the spool.
const OUTAGE: Duration = Duration::from_millis(1_500);
/// How long a server may take to process what an image has.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);
const LOSSES: [Loss; 5] =
    [Loss::All, Loss::Sectors(0.5), Loss::Sectors(0.1), Loss::Sectors(0.9), Loss::Nothing];

/// What is known of a recorded run.
struct Recorded {
    folder: PathBuf,
    app: App,
    sent: Sent,
    /// How long the recording was when each webhook was acknowledged.
    acknowledged: HashMap<(u32, Step), u64>,
    /// What a client received, with the length at that time.
    received: Vec<(u64, Seen)>,
}

pub(crate) async fn run(plan: &Plan) -> Result<Row, Failure> {
    let tools = tempfile::Builder::new().prefix("cti-faults-power-").tempdir_in(&plan.folder)?;
    let library = compile(tools.path())?;
    let log = tools.path().join("recording");
    let (mut trial, recording, recorded) = record(plan, &library, &log).await?;
    let entries = parse(&recording)?;
    let images = plan.count(200, 4) as usize;
    let points = crash_points(&mut trial.random, &recorded, &entries, images);
    let mut disk = Disk::default();
    let mut applied = 0;
    let mut damaged = 0;
    for (number, point) in points.into_iter().enumerate() {
        entries[applied..=point].iter().for_each(|entry| disk.apply(&entry.operation));
        applied = point + 1;
        let loss = LOSSES[number % LOSSES.len()];
        trial.fault_begins();
        let found = check(plan, &mut trial.random, &recorded, &disk, entries[point].end, loss).await;
        let faults = found.unwrap_or_else(|failure| vec![failure.to_string()]);
        if !faults.is_empty() {
            damaged += 1;
            let first = faults.first().cloned().unwrap_or_default();
            trial.problem(format!("record {point} of {}, {loss:?}: {first}", entries.len()));
        }
    }
    // A disk that does not sync must be noticed, or nothing above proves anything.
    let mut lying = Disk::lying_from(entries.len() / 2);
    entries.iter().for_each(|entry| lying.apply(&entry.operation));
    let end = entries.last().map_or(0, |entry| entry.end);
    let lies = check(plan, &mut trial.random, &recorded, &lying, end, Loss::All).await;
    let is_noticed = lies.map_or(true, |faults| !faults.is_empty());
    trial.expect(is_noticed, "losses on a disk that does not sync were not noticed");
    trial.note(format!(
        "{images} images of {} records ({} MB): {damaged} damaged",
        entries.len(),
        recording.len() >> 20
    ));
    trial.finish(Case::PowerLoss.name()).await
}

fn compile(folder: &Path) -> Result<PathBuf, Failure> {
    let (source, library) = (folder.join("recorder.c"), folder.join("recorder.so"));
    fs::write(&source, RECORDER)?;
    let (from, to) = (source.display().to_string(), library.display().to_string());
    run_command("cc", &["-shared", "-fPIC", "-O2", "-o", &to, &from, "-ldl"])?;
    Ok(library)
}

/// Records a server under load whose database is locked now and then. Then it is killed and restarted without recorder.
async fn record(plan: &Plan, library: &Path, log: &Path) -> Result<(Trial, Vec<u8>, Recorded), Failure> {
    let mut site = Site::create(plan, Kind::Sqlite).await?;
    let folder = site.folder().to_owned();
    site.set("LD_PRELOAD", library.display().to_string());
    site.set("CTI_RECORD_FOLDER", folder.display().to_string());
    site.set("CTI_RECORD_LOG", log.display().to_string());
    let mut trial = Trial::start(plan, Kind::Sqlite, site).await?;
    trial.tally().stamp_with(log.to_owned());
    trial.begin_load_of(plan.rate.min(200));
    for _ in 0..plan.count(5, 1) {
        sleep(plan.time(6, 1_000)).await;
        let mut database = SqliteConnection::connect(trial.site.setting("DATABASE_URL")).await?;
        let lock = database.begin_with("BEGIN IMMEDIATE").await?;
        sleep(OUTAGE).await;
        lock.rollback().await?;
        database.close().await?;
    }
    sleep(plan.time(6, 1_000)).await;
    if let Some(server) = &trial.server {
        // No more records.
        server.signal(Signal::STOP)?;
    }
    let recording = fs::read(log)?;
    let tally = Arc::clone(trial.sender.tally());
    let (sent, acknowledged) = (tally.sent(), tally.stamps());
    let received = trial.receiver.stamped();
    trial.kill_server()?;
    for name in ["LD_PRELOAD", "CTI_RECORD_FOLDER", "CTI_RECORD_LOG"] {
        trial.site.unset(name);
    }
    trial.start_server().await?;
    trial.end_load().await?;
    let app = trial.app.clone();
    Ok((trial, recording, Recorded { folder, app, sent, acknowledged, received }))
}

/// Chooses records after which the power fails: half of them right behind an acknowledgement, half anywhere.
fn crash_points(
    random: &mut Xoshiro256PlusPlus,
    recorded: &Recorded,
    entries: &[Entry<'_>],
    count: usize,
) -> Vec<usize> {
    let stamps: Vec<u64> = recorded.acknowledged.values().copied().collect();
    let mut points: Vec<usize> = (0..count)
        .map(|number| {
            let anywhere = random.random_range(0..entries.len());
            if number % 2 == 0 || stamps.is_empty() {
                return anywhere;
            }
            let stamp = stamps[random.random_range(0..stamps.len())];
            entries.partition_point(|entry| entry.end < stamp).min(entries.len() - 1)
        })
        .collect();
    points.sort_unstable();
    points
}

/// Starts a server on an image of this disk, and returns what is wrong with what it has.
async fn check(
    plan: &Plan,
    random: &mut Xoshiro256PlusPlus,
    recorded: &Recorded,
    disk: &Disk<'_>,
    length: u64,
    loss: Loss,
) -> Result<Vec<String>, Failure> {
    let site = Site::create(plan, Kind::Sqlite).await?;
    for (path, content) in disk.after_power_loss(loss, random) {
        let name = path.strip_prefix(&recorded.folder)?;
        // The memory that the processes on a SQLite file share is gone with them. The lock file names the inode of the
        // database, which is another one in an image.
        if ["-shm", "-lock"].iter().any(|end| name.to_string_lossy().ends_with(end)) {
            continue;
        }
        let target = site.folder().join(name);
        fs::create_dir_all(target.parent().ok_or("a file is in a folder")?)?;
        fs::write(target, content)?;
    }
    let _server = site.start().await?;
    let api = Api::new(site.addr, ADMIN_SECRET)?;
    let mut sent: Sent = recorded.sent.clone();
    for (call, steps) in &mut sent {
        for (step, outcome) in steps {
            let stamp = recorded.acknowledged.get(&(*call, *step));
            let is_before = stamp.is_some_and(|stamp| *stamp <= length);
            *outcome = if is_before { Outcome::Acknowledged } else { Outcome::Unknown };
        }
    }
    let received = recorded.received.iter().filter(|(stamp, _)| *stamp <= length);
    let received: Vec<Seen> = received.map(|(_, seen)| seen.clone()).collect();
    if received.is_empty() && recorded.acknowledged.values().all(|stamp| *stamp > length) {
        // Perhaps before the app was created: that the server starts is all that was promised.
        return Ok(Vec::new());
    }
    let app = &recorded.app;
    let began = Instant::now();
    loop {
        let listed = api.events(app).await?;
        let statuses = api.statuses(app).await?;
        let evidence =
            Evidence { sent: &sent, socket: &listed, listed: &listed, statuses: &statuses, in_order: true };
        let mut faults = Verdict::of(&evidence).faults().concat();
        for seen in &received {
            let now = usize::try_from(seen.seq - 1).ok().and_then(|index| listed.get(index));
            if now != Some(seen) {
                faults.push(format!("seq {} was delivered, and is now {now:?}", seen.seq));
            }
        }
        if faults.is_empty() || began.elapsed() > RECOVERY_TIMEOUT {
            return Ok(faults);
        }
        sleep(TICK * 20).await;
    }
}
