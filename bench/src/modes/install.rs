//! From a bundle to the first answered call, and reloads: what a change of a plugin takes on a host that does nothing else.

use crate::arguments::Plan;
use crate::caller::{Call, Caller};
use crate::host::{Surroundings, bundle};
use crate::sample::Sample;
use crate::table::{Table, time};
use serde_json::json;
use std::time::Instant;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    let bundle = bundle(plan, "hello-world", surroundings.path())?;
    let (mut cold, mut cached) = (Steps::default(), Steps::default());
    let mut reload = Sample::default();
    for number in 0..plan.repeats() {
        // A folder of its own: nothing is compiled in it yet.
        let capabilities = surroundings.path().join(format!("install-{number}"));
        std::fs::create_dir_all(&capabilities)?;
        let mut host = surroundings.spawn_host(plan, &capabilities)?;
        let mut caller = surroundings.caller(&format!("install-{number}"))?;
        host.wait_for(&mut caller, 0)?;
        let install = host.call("install_plugin_from_bundle", json!({"bundle_b64": bundle}).to_string());
        let hello = host.call("hello_world", r#"{"name":"bench"}"#);
        cold.measure(&mut caller, &install, &hello)?;
        caller.succeed(&host.call("uninstall_plugin", r#"{"plugin_id":"hello-world"}"#))?;
        cached.measure(&mut caller, &install, &hello)?;
        let again = host.call("reload_plugin", r#"{"plugin_id":"hello-world"}"#);
        for _ in 0..10 {
            let begin = Instant::now();
            caller.succeed(&again)?;
            reload.add(begin.elapsed(), true);
        }
    }
    let mut table = Table::new(["", "p50", "worst"]);
    for (name, sample) in [
        ("install, cold: reply", &cold.replied),
        ("install, cold: first answer", &cold.answered),
        ("install, compiled before: reply", &cached.replied),
        ("install, compiled before: first answer", &cached.answered),
        ("reload, compiled before: reply", &reload),
    ] {
        table.row([name.to_owned(), time(sample.quantile(0.5)), time(sample.quantile(1.0))]);
    }
    table.print("the bundle of `hello-world`, from the request on");
    Ok(())
}

/// Both counted from the request to install.
#[derive(Default)]
pub(crate) struct Steps {
    pub(crate) replied: Sample,
    pub(crate) answered: Sample,
}

impl Steps {
    pub(crate) fn measure(&mut self, caller: &mut Caller, install: &Call, call: &Call) -> anyhow::Result<()> {
        let begin = Instant::now();
        caller.succeed(install)?;
        self.replied.add(begin.elapsed(), true);
        caller.call(call)?;
        self.answered.add(begin.elapsed(), true);
        Ok(())
    }
}
