//! `get_status` while a plugin computes for a second without a break.

use crate::arguments::Plan;
use crate::host::Surroundings;
use crate::sample::Sample;
use crate::table::{Table, time};
use anyhow::Context;
use std::time::{Duration, Instant};

const BUSY: Duration = Duration::from_secs(1);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    let host = surroundings.host(plan, &["behave"])?;
    let mut caller = surroundings.caller("status")?;
    let mut plugin = surroundings.caller("busy")?;
    let status = host.call("get_status", "{}");
    let busy = host.call("busy_ms", format!(r#"{{"ms":{}}}"#, BUSY.as_millis()));

    let deadline = Instant::now() + BUSY * 8 / 10;
    let quiet = caller.drive(&status, 1, || Instant::now() < deadline)?;
    let (mut beside, mut outlasted) = (Sample::default(), true);
    for _ in 0..plan.repeats().div_ceil(4) {
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let call = scope.spawn(|| plugin.call(&busy).map(|_| Instant::now()));
            // The call is under way well before the first question, and outlasts the last.
            std::thread::sleep(BUSY / 10);
            let deadline = Instant::now() + BUSY * 8 / 10;
            beside.merge(&caller.drive(&status, 1, || Instant::now() < deadline)?);
            let last = Instant::now();
            outlasted &= call.join().ok().context("the caller panicked")?? >= last;
            Ok(())
        })?;
    }
    let mut table = Table::new(["`get_status`", "calls", "p50", "p99", "worst"]);
    for (name, sample) in [("alone", &quiet), ("beside a one-second call", &beside)] {
        table.row([
            name.to_owned(),
            sample.calls().to_string(),
            time(sample.quantile(0.5)),
            time(sample.quantile(0.99)),
            time(sample.quantile(1.0)),
        ]);
    }
    table.print("`get_status` while a plugin computes");
    if !outlasted {
        println!("\nthe one-second call ended before the questions did: these figures flatter");
    }
    Ok(())
}
