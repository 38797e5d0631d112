//! Who this process is, and whether another one of the same machine is gone.

use std::{fs, process};

use cti_actors::clock::new_uuid;
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use crate::store::cluster::NewProcess;

/// Describes this process. Without a configured name it gets a random one.
pub(super) fn this_process(configured: Option<&str>) -> NewProcess {
    let incarnation = new_uuid();
    NewProcess {
        process_id: configured.map_or_else(|| incarnation.to_string(), str::to_owned),
        incarnation,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        machine: machine().unwrap_or_default(),
        pid: process::id().into(),
    }
}

/// Returns what identifies the running operating system and the numbering of processes in it. Two containers of one machine
/// number theirs separately.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let numbering = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), numbering.display()))
}

/// Whether a process is certainly gone: it ran beside this one, and its number belongs to no process now. Its lease need not
/// be waited for then.
pub(super) fn is_gone(own: &NewProcess, machine: &str, pid: i64) -> bool {
    let is_beside = !own.machine.is_empty() && own.machine == machine;
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    is_beside && test_kill_process(pid) == Err(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_a_process_of_this_machine_that_has_ended_is_gone() {
        let own = this_process(Some("one"));
        assert_eq!(own.process_id, "one");
        assert!(!is_gone(&own, &own.machine, own.pid), "it runs");
        let mut child = Command::new("true").spawn().expect("a process can be started");
        let pid = child.id().into();
        child.wait().expect("it ends");
        assert!(is_gone(&own, &own.machine, pid));
        assert!(!is_gone(&own, "another machine", pid));
        assert!(!is_gone(&NewProcess { machine: String::new(), ..own }, "", pid), "nothing is known of it");
    }
}
