//! How much waits for a plugin: jobs and their bytes, each with a limit.

use mortise_plugin::{Job, JobKind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of all jobs that may wait for one instance: eight of the largest, or `limits.queue` of any usual size.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Which limit a job would have exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Jobs,
    Bytes,
    /// Of those that plugins of this host may have.
    PluginJobs,
    PluginBytes,
}

/// Counts what waits. Plugins of this host have half of the room at most, so that none of them keeps everybody else out, not
/// even with calls that it has given up. Whoever submits a job counts it in; whoever takes it up, or answers it instead, counts it out.
#[derive(Debug)]
pub(crate) struct Backlog {
    all: Room,
    of_plugins: Room,
}

#[derive(Debug)]
struct Room {
    jobs: AtomicUsize,
    bytes: AtomicUsize,
    jobs_max: usize,
    bytes_max: usize,
}

impl Room {
    fn new(jobs_max: usize, bytes_max: usize) -> Self {
        Self { jobs: AtomicUsize::new(0), bytes: AtomicUsize::new(0), jobs_max, bytes_max }
    }

    fn add(&self, bytes: usize) {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counted first and taken back: two that come at once cannot both have the last place.
    fn try_add(&self, bytes: usize, too_many: Full, too_large: Full) -> Result<(), Full> {
        if self.jobs.fetch_add(1, Ordering::Relaxed) >= self.jobs_max {
            self.jobs.fetch_sub(1, Ordering::Relaxed);
            return Err(too_many);
        }
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.bytes_max {
            self.take(bytes);
            return Err(too_large);
        }
        Ok(())
    }

    fn take(&self, bytes: usize) {
        self.jobs.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Backlog {
    pub(crate) fn new(jobs_max: usize, bytes_max: usize) -> Self {
        Self { all: Room::new(jobs_max, bytes_max), of_plugins: Room::new(jobs_max.div_ceil(2), bytes_max.div_ceil(2)) }
    }

    /// Counts `job` in, unless that would exceed a limit. An event is never too many: the next is handed over when it has
    /// ended, and the others wait elsewhere.
    pub(crate) fn admit(&self, job: &Job) -> Result<(), Full> {
        let bytes = bytes_of(job);
        if job.kind == JobKind::Event {
            self.all.add(bytes);
            return Ok(());
        }
        if is_of_plugin(job) {
            self.of_plugins.try_add(bytes, Full::PluginJobs, Full::PluginBytes)?;
        }
        self.all.try_add(bytes, Full::Jobs, Full::Bytes).inspect_err(|_| {
            if is_of_plugin(job) {
                self.of_plugins.take(bytes);
            }
        })
    }

    /// Counts `job` out: it waits no longer.
    pub(crate) fn release(&self, job: &Job) {
        let bytes = bytes_of(job);
        self.all.take(bytes);
        if is_of_plugin(job) {
            self.of_plugins.take(bytes);
        }
    }

    pub(crate) fn jobs(&self) -> usize {
        self.all.jobs.load(Ordering::Relaxed)
    }
}

/// Whether another plugin of this host calls.
fn is_of_plugin(job: &Job) -> bool {
    job.chain.depth() > 0
}

/// What its caller made of whatever length.
fn bytes_of(job: &Job) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let trace = job.trace.as_ref().map_or(0, |trace| length(&trace.parent) + length(&trace.state));
    job.params.as_str().len() + length(&job.caller) + trace
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::Json;
    use mortise_plugin::Ticket;
    use mortise_rpc::CallChain;
    use tokio::time::Instant;

    fn job(bytes: usize) -> Job {
        Job {
            kind: JobKind::Function,
            name: "f".into(),
            params: Json::new(format!("\"{}\"", "x".repeat(bytes - 4))).unwrap(),
            caller: Some("me".into()),
            trace: None,
            deadline: Instant::now(),
            chain: CallChain::default(),
            ticket: Ticket::uncounted().0,
        }
    }

    #[test]
    fn jobs_and_bytes_are_limited_apart_and_come_back() {
        let backlog = Backlog::new(3, 100);
        backlog.admit(&job(60)).unwrap();
        backlog.admit(&job(40)).unwrap();
        assert_eq!(backlog.admit(&job(4)), Err(Full::Bytes));
        backlog.release(&job(60));
        backlog.admit(&job(4)).unwrap();
        assert_eq!(backlog.jobs(), 2);
        backlog.admit(&job(4)).unwrap();
        assert_eq!(backlog.admit(&job(4)), Err(Full::Jobs));
        let event = Job { kind: JobKind::Event, ..job(80) };
        backlog.admit(&event).unwrap();
        backlog.release(&event);
        for bytes in [40, 4, 4] {
            backlog.release(&job(bytes));
        }
        assert_eq!((backlog.jobs(), backlog.all.bytes.into_inner()), (0, 0));
    }

    #[test]
    fn half_of_the_room_is_for_others_than_plugins() {
        let of_plugin = |bytes: usize| Job { chain: CallChain::default().by_unknown(), ..job(bytes) };
        let backlog = Backlog::new(4, 100);
        assert_eq!(backlog.admit(&of_plugin(51)), Err(Full::PluginBytes));
        backlog.admit(&of_plugin(4)).unwrap();
        backlog.admit(&of_plugin(4)).unwrap();
        assert_eq!(backlog.admit(&of_plugin(4)), Err(Full::PluginJobs));
        backlog.admit(&job(60)).unwrap();
        backlog.release(&of_plugin(4));
        assert_eq!(backlog.admit(&of_plugin(40)), Err(Full::Bytes));
        backlog.admit(&of_plugin(4)).unwrap();
        backlog.admit(&job(4)).unwrap();
        backlog.release(&of_plugin(4));
        backlog.admit(&job(4)).unwrap();
        assert_eq!(backlog.admit(&of_plugin(4)), Err(Full::Jobs), "and yet they have no more than what is left");
        for _ in 0..2 {
            backlog.release(&job(4));
        }
        backlog.release(&job(60));
        backlog.release(&of_plugin(4));
        for room in [&backlog.all, &backlog.of_plugins] {
            assert_eq!([room.jobs.load(Ordering::Relaxed), room.bytes.load(Ordering::Relaxed)], [0, 0]);
        }
        Backlog::new(1, 8).admit(&of_plugin(4)).unwrap();
    }
}
