use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use chrono::DateTime;
use tempfile::TempDir;

use super::*;

const LIMIT: u64 = 64 << 10;

/// A folder of a spool, which several runs use one after the other.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("spool")
    }

    fn config(&self, max_bytes: u64) -> SpoolConfig {
        SpoolConfig { folder: self.folder(), max_bytes }
    }

    /// Opens the spool, once the run before has let go of it.
    fn open(&self, max_bytes: u64) -> Arc<Spool> {
        loop {
            match Spool::open(Some(&self.config(max_bytes))) {
                Err(SpoolError::InUse(_)) => thread::yield_now(),
                opened => return opened.expect("a usable folder"),
            }
        }
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(self.folder()).expect("a folder").map(|entry| entry.expect("an entry").path());
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "spool");
        let mut segments: Vec<PathBuf> = entries.filter(is_segment).collect();
        segments.sort();
        segments
    }

    fn bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.metadata().expect("a file").len()).sum()
    }
}

fn webhook(number: usize) -> Record {
    let received_at = DateTime::from_timestamp_micros(1_704_110_400_000_000).expect("an instant");
    Record { received_at, app: None, payload: format!("{{\"call_id\":{number}}}").into_bytes() }
}

async fn webhooks_of(spool: &Spool, disk: &Disk) -> Vec<Record> {
    let files = spool.files.as_ref().expect("the spool is on");
    let mut records = Vec::new();
    for segment in disk.segments() {
        let number = segment.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a number");
        records.extend(segment::read(&files.folder, number).await.expect("a readable segment"));
    }
    records
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn what_is_acknowledged_is_on_the_disk_in_the_order_in_which_it_came() {
    let disk = Disk::new();
    let spool = disk.open(LIMIT);
    spool.database_failed(&StoreError::Unavailable("away".into()));
    let sent: Vec<Record> = (0..200).map(webhook).collect();
    for record in &sent {
        spool.append(record).await.expect("there is room");
    }
    assert_eq!(webhooks_of(&spool, &disk).await, sent);
    let state = spool.state();
    assert_eq!((state.state, state.webhooks, state.bytes), ("filling", 200, disk.bytes()));
    assert_eq!(spool.problem(), None);
}

#[tokio::test]
async fn only_the_user_of_the_server_may_read_it() {
    let disk = Disk::new();
    let spool = disk.open(LIMIT);
    spool.append(&webhook(1)).await.expect("there is room");
    assert_eq!(mode_of(&disk.folder()), 0o700);
    for entry in fs::read_dir(disk.folder()).expect("a folder") {
        assert_eq!(mode_of(&entry.expect("an entry").path()), 0o600);
    }
}

#[tokio::test]
async fn a_full_spool_refuses_says_so_and_keeps_what_it_has() {
    let disk = Disk::new();
    let spool = disk.open(2048);
    let mut kept = 0;
    while spool.append(&webhook(kept)).await.is_ok() {
        kept += 1;
    }
    assert!(matches!(spool.append(&webhook(kept)).await, Err(Refused::Full)));
    assert_eq!(spool.problem().as_deref(), Some("the spool is full"));
    assert!(kept > 20 && disk.bytes() <= 2048, "{kept} webhooks in {} bytes", disk.bytes());
    assert_eq!(webhooks_of(&spool, &disk).await.len(), kept);
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_why() {
    let disk = Disk::new();
    let first = disk.open(LIMIT);
    let refused = Spool::open(Some(&disk.config(LIMIT))).err().expect("it is in use");
    assert!(refused.to_string().starts_with("SPOOL_DIR: another process uses"), "{refused}");
    drop(first);
    disk.open(LIMIT);
}

#[tokio::test]
async fn the_next_run_finds_what_is_left_and_adds_behind_it() {
    let disk = Disk::new();
    let spool = disk.open(LIMIT);
    for number in 0..3 {
        spool.append(&webhook(number)).await.expect("there is room");
    }
    drop(spool);
    let spool = disk.open(LIMIT);
    assert!(!spool.is_direct(), "nothing may overtake what is left");
    assert_eq!((spool.state().webhooks, spool.state().bytes), (3, disk.bytes()));
    spool.append(&webhook(3)).await.expect("there is room");
    assert_eq!(webhooks_of(&spool, &disk).await, (0..4).map(webhook).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_damaged_webhook_is_set_aside_and_a_torn_end_is_left_out() {
    let disk = Disk::new();
    let spool = disk.open(LIMIT);
    for number in 0..4 {
        spool.append(&webhook(number)).await.expect("there is room");
    }
    let segment = &disk.segments()[0];
    let mut content = fs::read(segment).expect("a readable file");
    let frame_len = content.len() / 4;
    content[frame_len + frame_len / 2] ^= 1;
    content.truncate(content.len() - 5);
    fs::write(segment, &content).expect("a writable file");

    assert_eq!(webhooks_of(&spool, &disk).await, [webhook(0), webhook(2)]);
    let damaged = fs::read(disk.folder().join("damaged")).expect("what is damaged is kept");
    assert_eq!(damaged, content[frame_len..2 * frame_len]);
}

#[tokio::test]
async fn what_is_written_to_a_file_that_was_removed_is_not_acknowledged() {
    let disk = Disk::new();
    let spool = disk.open(LIMIT);
    spool.append(&webhook(0)).await.expect("there is room");
    fs::remove_file(&disk.segments()[0]).expect("a file");
    assert!(matches!(spool.append(&webhook(1)).await, Err(Refused::Failed(_))));
    assert!(spool.problem().is_some());
    spool.append(&webhook(2)).await.expect("a new file is begun");
    assert_eq!((webhooks_of(&spool, &disk).await, spool.problem()), (vec![webhook(2)], None));
}

#[tokio::test]
async fn webhooks_that_come_together_are_all_kept() {
    let disk = Disk::new();
    let spool = disk.open(LIMIT);
    let sent: Vec<Record> = (0..100).map(webhook).collect();
    let answers = futures_util::future::join_all(sent.iter().map(|record| spool.append(record))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(webhooks_of(&spool, &disk).await.len(), 100);
}

#[tokio::test]
async fn without_a_folder_nothing_is_kept() {
    let spool = Spool::open(None).expect("nothing can fail");
    assert!(spool.is_direct());
    assert!(matches!(spool.append(&webhook(1)).await, Err(Refused::Off)));
    assert_eq!((spool.state().state, spool.problem().as_deref()), ("off", Some("the spool is off")));
}
