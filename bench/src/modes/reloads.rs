//! 64 callers while the plugin they call is reloaded again and again: nothing may be lost, and little slowed down.

use crate::arguments::Plan;
use crate::host::Surroundings;
use crate::sample::Sample;
use crate::table::{Table, ratio, time};
use anyhow::{Context, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const CALLERS: usize = 64;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    let host = surroundings.host(plan, &["demo"])?;
    let mut callers = surroundings.caller("callers")?;
    let mut operator = surroundings.caller("operator")?;

    let deadline = Instant::now() + plan.drive() * 2;
    let quiet = callers.drive(&host.echo(), CALLERS, || Instant::now() < deadline)?;

    let done = AtomicBool::new(false);
    let echo = host.echo();
    let (reloading, reloads) = std::thread::scope(|scope| -> anyhow::Result<(Sample, Sample)> {
        let load = scope.spawn(|| callers.drive(&echo, CALLERS, || !done.load(Ordering::Relaxed)));
        let reload = host.call("reload_plugin", r#"{"plugin_id":"demo"}"#);
        let mut reloads = Sample::default();
        let outcome = (0..plan.reloads()).try_for_each(|_| {
            let asked = Instant::now();
            let result = operator.call(&reload)?;
            if result.get("status").and_then(|status| status.as_str()) != Some("success") {
                bail!("a reload failed: {result}");
            }
            reloads.add(asked.elapsed(), true);
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        let sample = load.join().ok().context("the callers panicked")??;
        outcome?;
        Ok((sample, reloads))
    })?;

    let mut table = Table::new(["", "calls", "lost", "failed", "calls/s", "p50", "p99"]);
    for (name, sample) in [("without reloads", &quiet), ("during reloads", &reloading)] {
        table.row([
            name.to_owned(),
            sample.calls().to_string(),
            sample.lost.to_string(),
            sample.failed.to_string(),
            format!("{:.0}", sample.throughput()),
            time(sample.quantile(0.5)),
            time(sample.quantile(0.99)),
        ]);
    }
    table.print(&format!("{CALLERS} callers during {} reloads", plan.reloads()));
    println!(
        "\np99 during / without: {}; one reload under this load: p50 {}, p99 {}",
        ratio(reloading.quantile(0.99).as_secs_f64() / quiet.quantile(0.99).as_secs_f64()),
        time(reloads.quantile(0.5)),
        time(reloads.quantile(0.99)),
    );
    Ok(())
}
