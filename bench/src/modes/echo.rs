//! `echo` of a plugin beside the bare responder: latency, throughput, CPU and memory.

use crate::arguments::Plan;
use crate::caller::Caller;
use crate::host::{Host, Surroundings};
use crate::sample::{Sample, median};
use crate::table::{Table, ratio, time};
use std::time::{Duration, Instant};

/// What one side showed at one number in flight.
#[derive(Default)]
struct Side {
    all: Sample,
    throughputs: Vec<f64>,
    cpu: Duration,
    /// Of the broker and the load generator.
    others: Duration,
}

impl Side {
    fn drive(
        &mut self,
        surroundings: &Surroundings,
        caller: &mut Caller,
        host: &Host,
        in_flight: usize,
        length: Duration,
    ) -> anyhow::Result<()> {
        let (cpu, others) = (host.process.cpu()?, surroundings.cpu()?);
        let deadline = Instant::now() + length;
        let sample = caller.drive(&host.echo(), in_flight, || Instant::now() < deadline)?;
        self.cpu += host.process.cpu()?.saturating_sub(cpu);
        self.others += surroundings.cpu()?.saturating_sub(others);
        self.throughputs.push(sample.throughput());
        self.all.merge(&sample);
        Ok(())
    }

    fn per_call(&self, cpu: Duration) -> String {
        format!("{:.1} µs", cpu.as_secs_f64() * 1e6 / (self.all.calls().max(1) as f64))
    }

    fn row(&self, in_flight: usize, name: &str, ratio: String) -> [String; 9] {
        [
            in_flight.to_string(),
            name.to_owned(),
            format!("{:.0}", median(self.throughputs.iter().copied())),
            time(self.all.quantile(0.5)),
            time(self.all.quantile(0.99)),
            self.per_call(self.cpu),
            self.per_call(self.others),
            (self.all.failed + self.all.lost).to_string(),
            ratio,
        ]
    }
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    let host = surroundings.host(plan, &["demo"])?;
    let bare = surroundings.bare()?;
    let idle = host.process.resident()?;
    compare(plan, &surroundings, &host, &bare, "`echo` over NATS")?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "\nresident memory of the host: {:.1} MiB idle with one plugin, {:.1} MiB after the load; bare responder {:.1} MiB",
        mib(idle),
        mib(host.process.resident()?),
        mib(bare.process.resident()?),
    );
    Ok(())
}

/// Drives both in turns and prints how they compare.
pub(crate) fn compare(
    plan: &Plan,
    surroundings: &Surroundings,
    host: &Host,
    bare: &Host,
    what: &str,
) -> anyhow::Result<()> {
    let mut caller = surroundings.caller("echo")?;
    for side in [bare, host] {
        // Warm: connections, routes, caches.
        let deadline = Instant::now() + plan.drive() / 4;
        caller.drive(&side.echo(), 16, || Instant::now() < deadline)?;
    }

    let columns =
        ["in flight", "who", "calls/s", "p50", "p99", "CPU per call", "broker, caller", "failed", "host / bare"];
    let mut table = Table::new(columns);
    let mut rows: Vec<(Side, Side)> = plan.in_flight.iter().map(|_| Default::default()).collect();
    for round in 0..plan.rounds() {
        for (in_flight, (of_bare, of_host)) in plan.in_flight.iter().copied().zip(&mut rows) {
            // Who goes first changes from round to round.
            let mut order = [(of_bare, bare), (of_host, host)];
            if round % 2 == 1 {
                order.reverse();
            }
            for (side, who) in order {
                side.drive(surroundings, &mut caller, who, in_flight, plan.drive())?;
            }
        }
    }
    for (in_flight, (of_bare, of_host)) in plan.in_flight.iter().copied().zip(&rows) {
        // Round by round, then the middle: a slow minute of the machine hits both halves of a pair.
        let throughput = median(of_host.throughputs.iter().zip(&of_bare.throughputs).map(|(host, bare)| host / bare));
        let p50 = of_host.all.quantile(0.5).as_secs_f64() / of_bare.all.quantile(0.5).as_secs_f64();
        table.row(of_bare.row(in_flight, "bare", String::new()));
        let ratios = format!("throughput {}, p50 {}", ratio(throughput), ratio(p50));
        table.row(of_host.row(in_flight, "host", ratios));
    }
    table.print(&format!("{what}, {} rounds of {:?} each", plan.rounds(), plan.drive()));
    Ok(())
}
