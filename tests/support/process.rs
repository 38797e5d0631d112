//! A child process whose output is collected, and which ends with its test.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{eventually, within};

/// How many lines of the log a failed test prints.
const SHOWN_LINES: usize = 80;
/// How long a server may take to stop: service managers kill it after some 30 s.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(25);
const HANDED_OVER: &str = "the process was not handed over";

/// A running child. Dropping it kills it.
pub(crate) struct Process {
    name: &'static str,
    /// None once it was handed over.
    child: Option<Child>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts the process and collects both of its outputs.
    pub(crate) fn spawn(name: &'static str, command: &mut Command) -> Self {
        Self::spawn_with_input(name, command, Stdio::null())
    }

    /// Starts the process with this standard input.
    pub(crate) fn spawn_with_input(name: &'static str, command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let lines = Arc::default();
        collect(child.stdout.take().expect("stdout is piped"), Arc::clone(&lines));
        collect(child.stderr.take().expect("stderr is piped"), Arc::clone(&lines));
        Self { name, child: Some(child), lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect(HANDED_OVER).id()
    }

    /// Takes the running child out of what is about to be dropped.
    pub(crate) fn hand_over(&mut self) -> Self {
        Self { name: self.name, child: self.child.take(), lines: Arc::clone(&self.lines) }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().expect(HANDED_OVER).try_wait().expect("the child can be asked")
    }

    /// Waits for a line in which `find` finds something.
    pub(crate) async fn wait_for_line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let name = self.name;
        eventually(&format!("{name} prints {what}"), async || {
            // Checked before the lines: the last lines of a process that has ended are not missed.
            let exit = self.ended();
            let found = self.lines().iter().find_map(|line| find(line));
            assert!(found.is_some() || exit.is_none(), "{name} ended ({exit:?}):\n{}", self.log());
            found
        })
        .await
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // This fails only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends SIGTERM, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.id())]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} takes no signal", self.name);
    }

    /// Waits until the process ends by itself.
    pub(crate) async fn exit(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name;
        within(limit, &format!("{name} ends"), async || self.ended()).await
    }

    /// Waits until the process ends by itself, and asserts that it did not fail.
    pub(crate) async fn exit_cleanly(&mut self, limit: Duration) {
        let status = self.exit(limit).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Stops the process as a service manager does.
    pub(crate) async fn stop(&mut self, limit: Duration) {
        self.terminate();
        self.exit_cleanly(limit).await;
    }

    /// Returns its output so far.
    pub(crate) fn log(&self) -> String {
        self.lines().join("\n")
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("no reader panics")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() && self.child.is_some() {
            let lines = self.lines();
            let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
            eprintln!("--- the last lines of {} ---\n{shown}\n---", self.name);
        }
    }
}

fn collect(pipe: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.lock().expect("no reader panics").push(line);
        }
    });
}

/// Runs a command until it ends.
pub(crate) async fn run_to_end(command: Command, limit: Duration) -> Output {
    let mut command = tokio::process::Command::from(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(limit, output).await.expect("it ends in time").expect("it can be started")
}
