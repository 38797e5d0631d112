//! The commands: what a person does with the program.

pub mod bench;
pub mod demo;
pub mod migrate;
pub mod serve;
pub mod simulate;
pub mod trigger;
