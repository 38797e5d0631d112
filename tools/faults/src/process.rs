//! Child processes that are signalled, and that end with this one.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::time::sleep;

use crate::Failure;

/// How often a condition is checked.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// A running child with its output in a file. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// Where its own part of the log begins.
    log_start: u64,
}

impl Process {
    /// Starts a command. It inherits the search path and nothing else.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let output = File::options().append(true).create(true).open(log)?;
        let log_start = output.metadata()?.len();
        let own: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let child = command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .envs(own)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned(), log_start })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Returns how it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended.
    pub(crate) async fn exit(&mut self, limit: Duration) -> Result<ExitStatus, Failure> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if began.elapsed() > limit {
                return Err(format!("process {} has not ended after {limit:?}", self.id()).into());
            }
            sleep(TICK).await;
        }
    }

    /// Kills it (SIGKILL), and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Returns its output so far.
    pub(crate) fn output(&self) -> String {
        let mut bytes = Vec::new();
        // What can't be read is shown as nothing.
        let _ = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(self.log_start))?;
            log.read_to_end(&mut bytes)
        });
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A user and a group.
pub(crate) type Owner = (u32, u32);

/// Returns a user who is not root, if this process is root: PostgreSQL refuses to run as root, and no permission can be
/// taken from it.
pub(crate) fn other_user(names: &[&str]) -> Result<Option<Owner>, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let ids = |wanted: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = names.iter().find_map(|name| ids(name));
    found.map(Some).ok_or_else(|| format!("no user is named {}", names.join(" or ")).into())
}

/// Lets a command run as this user.
pub(crate) fn run_as(command: &mut Command, owner: Option<Owner>) {
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
}

/// Gives a file to this user.
pub(crate) fn give_to(path: &Path, owner: Option<Owner>) -> Result<(), Failure> {
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// Returns the path of an installed program.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Runs a command that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {said}", arguments.join(" ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_signalled_and_ends_with_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut asleep = Process::spawn(Command::new("sleep").arg("60"), &log).unwrap();
        asleep.signal(Signal::TERM).unwrap();
        assert!(!asleep.exit(Duration::from_secs(5)).await.unwrap().success());
        let guarded = Process::spawn(Command::new("sleep").arg("60"), &log).unwrap();
        let status = format!("/proc/{}/status", guarded.id());
        drop(guarded);
        assert!(!Path::new(&status).exists());
    }
}
