//! The program: parses the command line, runs the command, and exits with its code.

use std::process::ExitCode;

use clap::Parser;
use cti_server::cli::{self, Cli};

/// With the system's allocator, half of the time per webhook was spent in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One multi-threaded runtime owns the database's connections and the background tasks. Actors and HTTP workers have
    // threads of their own.
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("cti-server")
            .enable_all()
            .build()
            .expect("a runtime needs only threads and a poller")
    });
    match system.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{}", failed.message);
            ExitCode::from(failed.code)
        }
    }
}
