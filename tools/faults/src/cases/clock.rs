//! The wall clock of the server is set while it runs. Monotonic time goes on.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::time::sleep;

use crate::Failure;
use crate::site::Site;
use crate::trial::Trial;

/// Where Debian's package `faketime` has its library, by processor.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
/// Briefly and back, and further and further.
const OFFSETS: [&str; 9] = ["+5h", "+0", "-5h", "+3d", "-3d", "+31d", "+0", "-31d", "+0"];
/// What the clock is set to before a restart.
const AT_RESTART: [&str; 3] = ["-10m", "+2d", "+0"];

fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).exists())
}

pub(super) fn missing() -> Option<String> {
    library().is_none().then(|| "libfaketime is not installed".to_owned())
}

fn file_of(site: &Site) -> PathBuf {
    site.folder().join("wall-clock")
}

/// Sets the clock to so much before or after the right time.
fn set_to(site: &Site, offset: &str) -> Result<(), Failure> {
    let file = file_of(site);
    // Renamed, so that no half of it is read.
    let new = file.with_extension("new");
    fs::write(&new, offset)?;
    Ok(fs::rename(new, file)?)
}

/// Lets the clock of the site's servers be set.
pub(super) fn prepare(site: &mut Site) -> Result<(), Failure> {
    let file = file_of(site);
    site.set("LD_PRELOAD", library().ok_or("libfaketime is not installed")?);
    site.set("FAKETIME_TIMESTAMP_FILE", file.display().to_string());
    site.set("FAKETIME_NO_CACHE", "1");
    site.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    // What is wrongly taken for old is removed soon.
    site.set("RETENTION_INTERVAL", "1s");
    set_to(site, "+0")
}

pub(super) async fn set(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    trial.calm().await;
    for offset in OFFSETS {
        trial.fault_begins();
        set_to(&trial.site, offset)?;
        sleep(trial.plan.time(4, 1_200)).await;
    }
    trial.fault_ends();
    let steps = trial.api.metric("cti_clock_steps_total").await?;
    trial.expect(steps > 0.0, "the server did not notice that its clock was set");
    trial.note(format!("the server noticed {steps} steps of its clock"));
    trial.recovers().await?;
    let rounds = u32::try_from(AT_RESTART.len())?;
    trial
        .rounds(rounds, async |trial, round| {
            trial.stop_server().await?;
            set_to(&trial.site, AT_RESTART[round as usize])?;
            trial.start_server().await
        })
        .await?;
    trial.calm().await;
    Ok(())
}
