//! The command line.

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    commands::{
        backup, bench, completions, demo, doctor, import, listen, man, migrate, rebuild, restore, serve,
        simulate, trigger, verify,
    },
    startup::StartError,
};

/// An event engine between Dialpad's cloud telephony and the CRMs that use it.
#[derive(Parser)]
#[command(name = "cti-server", version, arg_required_else_help = true)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the program.
#[derive(Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(serve::ServeArgs),
    /// Show live calls without any setup: simulator, server, a connected app.
    Demo(demo::DemoArgs),
    /// Apply the pending migrations and list them.
    Migrate(migrate::MigrateArgs),
    /// Copy the database to a file, also while a server runs.
    Backup(backup::BackupArgs),
    /// Replace the database by a backup. The feeds get a new epoch.
    Restore(restore::RestoreArgs),
    /// Check the invariants of the database; a server may run meanwhile.
    Verify(verify::VerifyArgs),
    /// Make calls and messages anew from the journal, and compare them with what is stored.
    Rebuild(rebuild::RebuildArgs),
    /// Take over the database of the predecessor.
    Import(import::ImportArgs),
    /// Run the Dialpad simulator alone: OAuth, REST and signed webhooks, without an account.
    Simulate(simulate::SimulateArgs),
    /// Sign one webhook, or all webhooks of a call, and post them to a running server.
    Trigger(trigger::TriggerArgs),
    /// Print the events of an app, and resume where it stopped.
    Listen(listen::ListenArgs),
    /// Check a deployment, point by point, and name what to change.
    Doctor(doctor::DoctorArgs),
    /// Measure the server, with its database alone as reference.
    Bench(bench::BenchArgs),
    /// Print the completions of a shell, such as bash, zsh or fish.
    Completions(completions::CompletionsArgs),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man(man::ManArgs),
}

/// A command that failed.
pub struct Failed {
    /// The message to print.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Failed {
    fn because(error: &dyn std::fmt::Display) -> Self {
        Self { message: error.to_string(), code: 1 }
    }
}

/// Runs a command. Must be called within an actix system.
///
/// # Errors
/// Returns the message to print and the exit code.
pub async fn run(cli: Cli) -> Result<(), Failed> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await.map_err(|error| match error {
            serve::ServeError::Config(error) => Failed { message: error.to_string(), code: 2 },
            serve::ServeError::Start(error @ StartError::Host { .. }) => {
                Failed { message: error.to_string(), code: 2 }
            }
            other => Failed::because(&other),
        }),
        Command::Demo(args) => demo::run(args).await.map_err(|error| Failed::because(&error)),
        Command::Migrate(args) => migrate::run(args).await.map_err(|error| match error {
            migrate::MigrateError::Config(error) => Failed { message: error.to_string(), code: 2 },
            other => Failed::because(&other),
        }),
        Command::Backup(args) => backup::run(args).await.map_err(|error| match error {
            backup::BackupError::Config(error) => Failed { message: error.to_string(), code: 2 },
            other => Failed::because(&other),
        }),
        Command::Restore(args) => restore::run(args).await.map_err(|error| match error {
            restore::RestoreError::Config(error) => Failed { message: error.to_string(), code: 2 },
            other => Failed::because(&other),
        }),
        Command::Verify(args) => verify::run(args).await.map_err(|error| match error {
            verify::VerifyError::Config(error) => Failed { message: error.to_string(), code: 2 },
            other => Failed::because(&other),
        }),
        Command::Rebuild(args) => rebuild::run(args).await.map_err(|error| match error {
            rebuild::RebuildError::Config(error) => Failed { message: error.to_string(), code: 2 },
            other => Failed::because(&other),
        }),
        Command::Import(args) => import::run(args).await.map_err(|error| match error {
            import::ImportError::Config(error) => Failed { message: error.to_string(), code: 2 },
            other => Failed::because(&other),
        }),
        Command::Simulate(args) => simulate::run(args).await.map_err(|error| Failed::because(&error)),
        Command::Trigger(args) => trigger::run(args).await.map_err(|error| Failed::because(&error)),
        Command::Listen(args) => {
            let ended = listen::run(args).await;
            ended.map_err(|error| Failed { message: error.to_string(), code: error.exit_code() })
        }
        Command::Doctor(args) => doctor::run(args).await.map_err(|error| Failed::because(&error)),
        Command::Bench(args) => bench::run(args).await.map_err(|error| Failed::because(&error)),
        Command::Completions(args) => {
            completions::run(&args, Cli::command()).map_err(|error| Failed::because(&error))
        }
        Command::Man(args) => man::run(&args, Cli::command()).map_err(|error| Failed::because(&error)),
    }
}
