//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Measures the host beside a bare responder.
#[derive(Debug, Parser)]
#[command(name = "mortise-bench", version)]
pub(crate) struct Arguments {
    /// What to measure; everything, where nothing is named.
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,
    /// How.
    #[command(flatten)]
    pub(crate) plan: Plan,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Everything below, one after the other.
    All,
    /// Calls of `echo` one by one and 1, 16, 64 and 256 in flight, beside the bare responder.
    Echo,
    /// 64 callers while the plugin they call is reloaded again and again.
    Reloads,
    /// 64 calls at once that each wait 50 ms.
    Awaits,
    /// `get_status` while a plugin computes for a second.
    Status,
    /// From a bundle to the first answered call, cold and with compiled code, and reloads.
    Install,
    /// From the start of the process to the first answered `get_status`.
    Start,
    /// Calls of `echo` at a steady pace, alone and beside plugins that take what they can get.
    Noisy,
    /// Plugins in Python: from a bundle to the first answered call, `echo` beside the bare responder, memory.
    Python,
    /// The same of plugins in JavaScript.
    Javascript,
    /// The other side of `echo`: answers, and does nothing else.
    #[command(hide = true)]
    Bare {
        /// The broker.
        #[arg(long = "broker")]
        url: String,
        /// Where requests come in.
        #[arg(long)]
        subject: String,
    },
}

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// A short run, to see that everything works; its figures mean little.
    #[arg(long, global = true)]
    pub(crate) quick: bool,
    /// The host's binary.
    #[arg(long, global = true, env = "MORTISE_BIN", default_value = "target/release/mortise")]
    pub(crate) host: PathBuf,
    /// Folder of assembled guests, one folder each.
    #[arg(long, global = true, env = "MORTISE_GUESTS", default_value = "target/guests/plugins")]
    pub(crate) guests: PathBuf,
    /// Folder of the runners that interpret Python and JavaScript.
    #[arg(long, global = true, env = "MORTISE_RUNNERS", default_value = "target/runners")]
    pub(crate) runners: PathBuf,
    /// The broker's binary.
    #[arg(long, global = true, env = "NATS_SERVER", default_value = "nats-server")]
    pub(crate) nats_server: PathBuf,
    /// Rounds of `echo`, each driving both sides at every number in flight, and of `noisy`, each beside every noise.
    #[arg(long, global = true)]
    rounds: Option<u32>,
    /// Length of one drive, in milliseconds.
    #[arg(long, global = true)]
    drive_ms: Option<u64>,
    /// Of `noisy`, only what goes on beside whose name has this in it.
    #[arg(long, global = true, default_value = "")]
    pub(crate) beside: String,
    /// Calls of `echo` in flight, one row each.
    #[arg(long, global = true, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    pub(crate) in_flight: Vec<usize>,
}

impl Plan {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 7 })
    }

    pub(crate) fn drive(&self) -> Duration {
        Duration::from_millis(self.drive_ms.unwrap_or(if self.quick { 300 } else { 2_000 }))
    }

    pub(crate) fn reloads(&self) -> u32 {
        if self.quick { 50 } else { 1_000 }
    }

    pub(crate) fn repeats(&self) -> u32 {
        if self.quick { 3 } else { 20 }
    }

    pub(crate) fn plugins(&self) -> u32 {
        if self.quick { 5 } else { 50 }
    }
}
