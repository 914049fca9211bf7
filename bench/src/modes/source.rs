//! Plugins in source form: how long they take to be there, to answer, and what they hold.

use super::echo;
use super::install::Steps;
use crate::arguments::Plan;
use crate::host::{Surroundings, packed};
use crate::sample::Sample;
use crate::table::{Table, time};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// As agents write them.
const SOURCE: &str = r#"
from device_connect_edge.drivers.decorators import rpc


class Bench:
    def __init__(self, device=None):
        self.device = device

    @rpc()
    async def echo(self, message: str = "hello") -> dict:
        """Says what it was told.

        Args:
            message: What is said
        """
        return {"message": message}
"#;

/// The same in the other language.
const JAVASCRIPT: &str = r#"
/**
 * Says what it was told.
 * @param {string} message What is said
 */
export async function echo(message = "hello") {
  return { message };
}
"#;

/// A language that a runner interprets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Language {
    Python,
    Javascript,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Javascript => "JavaScript",
        }
    }
}

/// How many plugins there are when memory is read.
const CROWDS: [usize; 3] = [1, 10, 50];

pub(crate) fn run(plan: &Plan, language: Language) -> anyhow::Result<()> {
    anyhow::ensure!(
        plan.runners.join("runners.json").is_file(),
        "no runners in {}: `cargo xtask runners` makes them",
        plan.runners.display()
    );
    let surroundings = Surroundings::start(plan)?;
    let capabilities = surroundings.path().join("capabilities");
    fs::create_dir_all(&capabilities)?;
    let mut host = surroundings.spawn_host(plan, &capabilities)?;
    let mut caller = surroundings.caller("source")?;
    host.wait_for(&mut caller, 0)?;

    let mut memory = Table::new(["idle plugins", "proportional memory", "each"]);
    let empty = host.process.proportional()?;
    memory.row(["0".to_owned(), mib(empty), String::new()]);
    let (mut first, mut further, mut reload) = (Steps::default(), Steps::default(), Sample::default());
    let crowd = if plan.quick { 10 } else { 50 };
    for number in 1..=crowd {
        let id = format!("bench-{number}");
        let bundle = packed(plan, &plugin(surroundings.path(), &id, language)?, surroundings.path())?;
        let install = host.call("install_plugin_from_bundle", json!({"bundle_b64": bundle}).to_string());
        // The bare name is the first one's; the host answers for each by its own.
        let echo = host.call(format!("{id}.echo"), r#"{"message":"hello"}"#);
        let steps = if number == 1 { &mut first } else { &mut further };
        steps.measure(&mut caller, &install, &echo)?;
        if CROWDS.contains(&number) {
            let now = host.process.proportional()?;
            memory.row([number.to_string(), mib(now), mib(now.saturating_sub(empty) / number as u64)]);
        }
    }
    let again = host.call("reload_plugin", r#"{"plugin_id":"bench-1"}"#);
    for _ in 0..plan.repeats() {
        let begin = Instant::now();
        caller.succeed(&again)?;
        reload.add(begin.elapsed(), true);
    }

    let mut table = Table::new(["", "p50", "worst"]);
    for (name, sample) in [
        ("first plugin, runner read and checked: reply", &first.replied),
        ("first plugin: first answer", &first.answered),
        ("further plugin: reply", &further.replied),
        ("further plugin: first answer", &further.answered),
        ("reload", &reload),
    ] {
        table.row([name.to_owned(), time(sample.quantile(0.5)), time(sample.quantile(1.0))]);
    }
    table.print(&format!("a bundle in {}, from the request on", language.name()));
    memory.print("memory of the host");
    let bare = surroundings.bare()?;
    echo::compare(plan, &surroundings, &host, &bare, &format!("`echo` in {} over NATS", language.name()))
}

/// Writes a plugin of that id.
fn plugin(folder: &Path, id: &str, language: Language) -> anyhow::Result<std::path::PathBuf> {
    let plugin = folder.join("plugins").join(id);
    fs::create_dir_all(&plugin)?;
    let (entry_point, source) = match language {
        Language::Python => ("capability.py", SOURCE),
        Language::Javascript => ("plugin.js", JAVASCRIPT),
    };
    // Python needs the name of its class; elsewhere it has no effect.
    let manifest = json!({"id": id, "version": "1", "entry_point": entry_point, "class_name": "Bench"});
    fs::write(plugin.join("manifest.json"), manifest.to_string())?;
    fs::write(plugin.join(entry_point), source)?;
    Ok(plugin)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
