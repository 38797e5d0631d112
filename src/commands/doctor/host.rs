//! Checks of this machine: files and their permissions, room, limits.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::clock::{Clock, SystemClock};
use rustix::fs::statvfs;

use super::check::Check;
use crate::{
    commands::serve::MIN_OPEN_FILES, config::Config, database_url::DatabaseUrl, net, startup::key_file,
    tls::TlsFiles,
};

/// With less, the database can be full within hours.
const MIN_FREE_BYTES: u64 = 200 << 20;
/// Room for some minutes without the database.
const MIN_SPOOL_BYTES: u64 = 64 << 20;
const LOW_FREE_BYTES: u64 = 2 << 30;
/// Certificates of 90 days are usually renewed 30 days before their end.
const RENEWAL: TimeDelta = TimeDelta::days(14);

pub(super) fn check(config: &Config, settings_file: Option<&Path>) -> Vec<Check> {
    let mut checks = vec![open_files()];
    checks.extend(settings_file.map(|file| {
        // Without a secret, others may read it: the package installs it so.
        let (refused, why) =
            if holds_secret(file) { (0o007, "it holds secrets") } else { (0o002, "it holds no secret") };
        let shown = file.display();
        let fix = format!("chgrp GROUP {shown} && chmod 640 {shown}, with the group of the server's user");
        private("settings_file", file, refused, why, fix)
    }));
    if config.token_encryption_keys.is_none() {
        let file = key_file(&config.database_url);
        let fix = format!("chmod 600 {}", file.display());
        checks.push(private("key_file", &file, 0o077, "it decrypts all tokens", fix));
    }
    if let Some(tls) = &config.tls {
        let fix = format!("chmod 640 {}", tls.key.display());
        checks.push(private(
            "tls_key_file",
            &tls.key,
            0o007,
            "it is the key of the server's certificate",
            fix,
        ));
        checks.push(certificate(tls, SystemClock.now()));
    }
    if let DatabaseUrl::Sqlite(path) = &config.database_url {
        checks.push(database_file(path));
        checks.push(room("disk", &folder_of(path), MIN_FREE_BYTES, LOW_FREE_BYTES));
    }
    checks.push(match &config.spool {
        Some(spool) => {
            room("spool", &folder_of(&spool.folder.join("segment")), MIN_SPOOL_BYTES, spool.max_bytes)
        }
        None => Check::warn(
            "spool",
            "SPOOL is off: webhooks are refused while the database is away",
            "set SPOOL=on, with SPOOL_DIR on a disk of this machine",
        ),
    });
    checks
}

/// Whether a settings file sets a secret.
fn holds_secret(file: &Path) -> bool {
    let Ok(text) = fs::read_to_string(file) else { return true };
    let names = text.lines().filter_map(|line| Some(line.split_once('=')?.0.trim().to_ascii_lowercase()));
    let of_secrets = ["secret", "token", "key", "database_url"];
    names.into_iter().any(|name| !name.starts_with('#') && of_secrets.iter().any(|part| name.contains(part)))
}

/// Checks the file of SQLite and those beside it: the newest calls are in the write-ahead log.
fn database_file(path: &Path) -> Check {
    let (name, why) = ("database_file", "it holds calls and messages of people");
    let fix = format!("chmod 640 {}*", path.display());
    let beside = ["-wal", "-shm"].map(|suffix| {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        PathBuf::from(file)
    });
    let beside = beside.into_iter().filter(|file| file.exists());
    let checks = beside.map(|file| private(name, &file, 0o007, why, fix.clone()));
    let of_file = private(name, path, 0o007, why, fix.clone());
    std::iter::once(of_file).chain(checks).reduce(Check::worse).unwrap_or_else(|| Check::ok(name, why))
}

fn certificate(tls: &TlsFiles, now: DateTime<Utc>) -> Check {
    const FIX: &str = "renew the certificate and replace both files: the server uses them without a restart";
    match tls.check() {
        Ok(expires_at) => {
            let how =
                format!("{} expires at {}", tls.cert.display(), expires_at.format("%Y-%m-%d %H:%M UTC"));
            if expires_at <= now {
                return Check::fail("tls_certificate", how, FIX);
            }
            Check::advise("tls_certificate", expires_at - now >= RENEWAL, how, FIX)
        }
        Err(error) => Check::fail("tls_certificate", error.to_string(), FIX),
    }
}

fn open_files() -> Check {
    let limit = net::raise_nofile();
    let shown = limit.map_or_else(|| "not limited".to_owned(), |files| files.to_string());
    Check::advise(
        "open_files",
        limit.is_none_or(|files| files >= MIN_OPEN_FILES),
        format!("the limit of open files (ulimit -Hn) is {shown}"),
        format!("set LimitNOFILE={MIN_OPEN_FILES} or more: each session takes one"),
    )
}

/// Checks that others have no access to a file. The bits of `refused` must not be set.
fn private(name: &'static str, file: &Path, refused: u32, why: &str, fix: String) -> Check {
    let shown = file.display();
    match fs::metadata(file) {
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            let how = format!("{shown} has mode {mode:o}; {why}");
            if mode & refused & 0o022 != 0 {
                return Check::fail(name, how, fix);
            }
            Check::advise(name, mode & refused == 0, how, fix)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::warn(
            name,
            format!("{shown} does not exist"),
            "run doctor where the server runs, in its folder; the first start creates the file",
        ),
        Err(error) => Check::warn(name, format!("{shown}: {error}"), "run doctor as the server's user"),
    }
}

/// Returns the nearest folder that exists.
fn folder_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().skip(1).find(|folder| folder.is_dir()).map_or_else(|| "/".into(), Path::to_owned)
}

fn room(name: &'static str, folder: &Path, min: u64, low: u64) -> Check {
    let shown = folder.display();
    match statvfs(folder) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let how = format!("{} MiB are free in {shown}", free >> 20);
            let fix = "make room; RETENTION_EVENTS, RETENTION_JOURNAL and SPOOL_MAX_BYTES say what is kept";
            if free < min { Check::fail(name, how, fix) } else { Check::advise(name, free >= low, how, fix) }
        }
        Err(error) => Check::warn(name, format!("{shown}: {error}"), "run doctor where the server runs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Status;

    #[test]
    fn files_that_others_can_read_are_warned_of_and_those_that_they_can_write_fail() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cti.key");
        let status = || private("key_file", &file, 0o077, "secret", "chmod".into()).status;
        assert_eq!(status(), Status::Warn, "it does not exist");
        fs::write(&file, "x").expect("written");
        for (mode, expected) in [(0o600, Status::Ok), (0o640, Status::Warn), (0o622, Status::Fail)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(status(), expected, "{mode:o}");
        }
    }

    #[test]
    fn room_is_judged_by_what_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("not/yet/there.db");
        let status = |min, low| room("disk", &folder_of(&database), min, low).status;
        assert_eq!(status(0, 0), Status::Ok);
        assert_eq!(status(0, u64::MAX), Status::Warn);
        assert_eq!(status(u64::MAX, u64::MAX), Status::Fail);
    }
}
