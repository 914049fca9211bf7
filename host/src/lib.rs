//! The program `mortise`: configuration, command line and the wiring of all rooms.
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
mod compiled;
pub mod config;
pub mod policy;
