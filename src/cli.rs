//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    commands::{bench, demo, listen, migrate, serve, simulate, trigger},
    startup::StartError,
};

/// An event engine between Dialpad's cloud telephony and the CRMs that live on its calls.
#[derive(Parser)]
#[command(name = "cti-server", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(serve::ServeArgs),
    /// See the main job with nothing set up: simulator, server, a connected app, live calls.
    Demo(demo::DemoArgs),
    /// Apply the pending migrations and say which.
    Migrate(migrate::MigrateArgs),
    /// Run the Dialpad simulator alone: OAuth, REST and signed webhooks, without an account.
    Simulate(simulate::SimulateArgs),
    /// Sign a webhook, or a whole call, and post it to a running server.
    Trigger(trigger::TriggerArgs),
    /// Follow the events of an app on the terminal, and go on where it was.
    Listen(listen::ListenArgs),
    /// Measure the server against its database alone, in one run.
    Bench(bench::BenchArgs),
}

/// How a command ended that did not end well.
pub struct Failed {
    /// What to print.
    pub message: String,
    /// What to exit with.
    pub code: u8,
}

impl Failed {
    fn because(error: &dyn std::fmt::Display) -> Self {
        Self { message: error.to_string(), code: 1 }
    }
}

/// Runs a command to its end. Must be called within an actix system.
///
/// # Errors
/// What to print and what to exit with.
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
        Command::Simulate(args) => simulate::run(args).await.map_err(|error| Failed::because(&error)),
        Command::Trigger(args) => trigger::run(args).await.map_err(|error| Failed::because(&error)),
        Command::Listen(args) => {
            let ended = listen::run(args).await;
            ended.map_err(|error| Failed { message: error.to_string(), code: error.exit_code() })
        }
        Command::Bench(args) => bench::run(args).await.map_err(|error| Failed::because(&error)),
    }
}
