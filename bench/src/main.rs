//! Measures the host beside a bare responder, in one run on one machine, because only ratios survive a change of machine.
//!
//! It starts a `nats-server`, the release host with a guest loaded, and a second process of its own that answers the same
//! JSON-RPC and does nothing else (`bare`). Both are driven in turn, round by round, so that noise hits them alike. It prints
//! what it measured and asserts nothing about time.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing the figures is what a bench is for")]
#![allow(clippy::disallowed_methods, reason = "a bench starts processes and reads files, at no room's expense")]

mod arguments;
mod bare;
mod caller;
mod frames;
mod host;
mod modes;
mod process;
mod sample;
mod table;

use arguments::{Arguments, Mode};
use clap::Parser;
use modes::source::Language;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.mode.unwrap_or(Mode::All) {
        Mode::Bare { ref url, ref subject } => bare::respond(url, subject),
        Mode::All => {
            modes::echo::run(&arguments.plan)?;
            modes::reloads::run(&arguments.plan)?;
            modes::awaits::run(&arguments.plan)?;
            modes::status::run(&arguments.plan)?;
            modes::install::run(&arguments.plan)?;
            modes::start::run(&arguments.plan)?;
            modes::source::run(&arguments.plan, Language::Python)?;
            modes::source::run(&arguments.plan, Language::Javascript)?;
            modes::noisy::run(&arguments.plan)
        }
        Mode::Echo => modes::echo::run(&arguments.plan),
        Mode::Reloads => modes::reloads::run(&arguments.plan),
        Mode::Awaits => modes::awaits::run(&arguments.plan),
        Mode::Status => modes::status::run(&arguments.plan),
        Mode::Install => modes::install::run(&arguments.plan),
        Mode::Start => modes::start::run(&arguments.plan),
        Mode::Python => modes::source::run(&arguments.plan, Language::Python),
        Mode::Javascript => modes::source::run(&arguments.plan, Language::Javascript),
        Mode::Noisy => modes::noisy::run(&arguments.plan),
    }
}
