//! From the start of the process to the first answered `get_status`, and until every plugin is loaded.

use crate::arguments::Plan;
use crate::host::{Host, Surroundings, copy_guest};
use crate::sample::Sample;
use crate::table::{Table, time};
use anyhow::bail;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the question is repeated until somebody is there to answer it: the precision of the figure.
const ASK_EVERY: Duration = Duration::from_millis(2);
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    let empty = surroundings.path().join("empty");
    let full = surroundings.path().join("full");
    std::fs::create_dir_all(&empty)?;
    for number in 0..plan.plugins() {
        // One guest under many names: what counts here is the number of plugins.
        let id = format!("plugin-{number:02}");
        copy_guest(plan, "hello-world", &full.join(&id))?;
        rename(&full.join(&id), &id)?;
    }
    let mut table = Table::new(["", "answers after", "worst", "all loaded after", "resident"]);
    let many = format!("{} plugins", plan.plugins());
    for (name, capabilities, plugins, times) in [
        ("empty".to_owned(), &empty, 0, plan.repeats()),
        (format!("{many}, first start"), &full, plan.plugins(), 1),
        (format!("{many}, compiled before"), &full, plan.plugins(), plan.repeats()),
    ] {
        let (mut answers, mut loaded, mut resident) = (Sample::default(), Sample::default(), 0);
        for _ in 0..times {
            let mut caller = surroundings.caller("start")?;
            let started = Instant::now();
            let mut host = surroundings.spawn_host(plan, capabilities)?;
            answers.add(first_answer(&mut host, &mut caller, started)?, true);
            host.wait_for(&mut caller, plugins as usize)?;
            loaded.add(started.elapsed(), true);
            resident = host.process.resident()?;
        }
        table.row([
            name,
            time(answers.quantile(0.5)),
            time(answers.quantile(1.0)),
            time(loaded.quantile(0.5)),
            format!("{:.1} MiB", resident as f64 / f64::from(1 << 20)),
        ]);
    }
    table.print("process start to the first answered `get_status`");
    Ok(())
}

fn first_answer(host: &mut Host, caller: &mut crate::caller::Caller, started: Instant) -> anyhow::Result<Duration> {
    let status = host.call("get_status", "{}");
    while caller.ask(&status, ASK_EVERY)?.is_none() {
        host.process.check()?;
        if started.elapsed() > LIMIT {
            bail!("the host does not answer");
        }
    }
    Ok(started.elapsed())
}

/// Gives a copied plugin an id of its own.
fn rename(folder: &Path, id: &str) -> anyhow::Result<()> {
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    if let Some(fields) = manifest.as_object_mut() {
        fields.insert("id".to_owned(), id.into());
    }
    std::fs::write(&path, serde_json::to_vec_pretty(&manifest)?)?;
    Ok(())
}
