//! The commands: what a person does with the program.

pub mod bench;
pub mod demo;
mod event;
mod interruption;
pub mod listen;
pub mod migrate;
mod picture;
pub mod serve;
pub mod simulate;
pub mod trigger;

/// An error with everything that lies behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
