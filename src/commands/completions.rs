//! `cti-server completions`: completes the command line in a shell.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Command};
use clap_complete::Shell;

/// Print the completions of a shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
    /// Accepted as by every other command. Completions do not depend on settings.
    #[arg(long, value_name = "FILE", hide = true)]
    pub config: Option<PathBuf>,
}

/// Prints the completions of this command line.
///
/// # Errors
/// The output failed.
pub fn run(args: &CompletionsArgs, mut command: Command) -> io::Result<()> {
    let name = command.get_name().to_owned();
    // Not straight to the output: `generate` panics where it can't write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    io::stdout().write_all(&script)
}
