//! Child processes, and what the kernel says they use.

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel counts CPU time for `/proc` in hundredths of a second on every architecture that we build for.
const TICK: Duration = Duration::from_millis(10);

/// How long a process may take to end when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(6);

/// A child that ends with its owner.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command; what it prints goes into the file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let output = std::fs::File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("failed to start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// An error, if the process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("the process ended: {status}"),
        }
    }

    /// User and system time of all its threads so far, to a hundredth of a second.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.child.id())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident size")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes << 10)
    }

    /// Resident memory in bytes, of what is shared with others or mapped several times its part.
    pub(crate) fn proportional(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no proportional size")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes << 10)
    }

    /// Asks it to end and waits; kills it when it takes too long.
    pub(crate) fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let deadline = Instant::now() + STOP_LIMIT;
        if let Some(pid) = pid
            && kill_process(pid, Signal::TERM).is_ok()
        {
            while Instant::now() < deadline {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of all threads of a process so far, to a hundredth of a second.
pub(crate) fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    // The name in parentheses may hold anything; the fields are counted after it: state is the third of all.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).context("an odd stat line")?;
    let mut ticks = fields.split(' ').skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next().context("no user time")??, ticks.next().context("no system time")??);
    Ok(TICK * (user + system))
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
