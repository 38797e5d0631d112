//! The commands of the program.

pub mod backup;
pub mod bench;
pub mod completions;
pub mod demo;
pub mod doctor;
mod event;
pub mod existing;
pub mod import;
pub mod listen;
pub mod man;
pub mod migrate;
mod output;
mod postgres_tools;
mod private_file;
pub mod rebuild;
pub mod restore;
pub mod serve;
mod shutdown_signal;
pub mod simulate;
pub mod trigger;
pub mod verify;

/// Formats an error with all its causes.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
