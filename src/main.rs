//! The program: parses the command line, runs the command, and exits with its code.

use std::process::ExitCode;

use clap::Parser;
use cti_server::{
    cli::{self, Cli},
    telemetry::log,
};

/// With the system's allocator, half of the time per webhook was spent in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One multi-threaded runtime owns the database's connections and the background tasks. Actors and HTTP workers have
    // threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("cti-server")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!(
                "can't start: 2 threads and 3 open files are needed (ulimit -u, ulimit -n, memory): {error}"
            );
            return ExitCode::FAILURE;
        }
    };
    let system = actix_rt::System::with_tokio_rt(|| runtime);
    let done = system.block_on(cli::run(cli));
    log::flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{}", failed.message);
            ExitCode::from(failed.code)
        }
    }
}
