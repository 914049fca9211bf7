//! 64 calls at once that each wait 50 ms, in one instance of one plugin.

use crate::arguments::Plan;
use crate::host::Surroundings;
use crate::sample::Sample;
use crate::table::time;

const CALLS: usize = 64;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    let host = surroundings.host(plan, &["behave"])?;
    let mut caller = surroundings.caller("awaits")?;
    let sleep = host.call("sleep_ms", r#"{"ms":50}"#);
    caller.call(&sleep)?;
    let (mut whole, mut unanswered) = (Sample::default(), 0);
    for _ in 0..plan.repeats() {
        let sample = caller.drive(&sleep, CALLS, || false)?;
        unanswered += sample.failed + sample.lost;
        whole.add(sample.elapsed, true);
    }
    println!(
        "\n{CALLS} concurrent calls that each wait 50 ms, all answered after: p50 {}, worst {} ({} times, {unanswered} failed)",
        time(whole.quantile(0.5)),
        time(whole.quantile(1.0)),
        plan.repeats(),
    );
    Ok(())
}
