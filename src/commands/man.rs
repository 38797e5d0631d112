//! `cti-server man`: writes the manual pages, for packages.

use std::{io, path::PathBuf};

use clap::{Args, Command};

/// Write the manual pages into a folder.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder. It must exist.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// Writes one page for the program and one for each command.
///
/// # Errors
/// The folder can't be written to.
pub fn run(args: &ManArgs, command: Command) -> io::Result<()> {
    clap_mangen::generate_to(command, &args.folder)
}
