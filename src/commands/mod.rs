//! The commands of the program.

pub mod bench;
pub mod demo;
mod event;
pub mod import;
pub mod listen;
pub mod migrate;
mod output;
pub mod serve;
mod shutdown_signal;
pub mod simulate;
pub mod trigger;

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
