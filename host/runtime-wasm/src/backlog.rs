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
}

/// Counts what waits. Whoever submits a job counts it in; whoever takes it up, or answers it instead, counts it out.
#[derive(Debug)]
pub(crate) struct Backlog {
    jobs: AtomicUsize,
    bytes: AtomicUsize,
    jobs_max: usize,
    bytes_max: usize,
}

impl Backlog {
    pub(crate) fn new(jobs_max: usize, bytes_max: usize) -> Self {
        Self { jobs: AtomicUsize::new(0), bytes: AtomicUsize::new(0), jobs_max, bytes_max }
    }

    /// Counts `job` in, unless that would exceed a limit. An event is never too many: the next is handed over when it has
    /// ended, and the others wait elsewhere.
    pub(crate) fn admit(&self, job: &Job) -> Result<(), Full> {
        let bytes = bytes_of(job);
        if job.kind == JobKind::Event {
            self.jobs.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
        // Counted first and taken back: two that come at once cannot both have the last place.
        if self.jobs.fetch_add(1, Ordering::Relaxed) >= self.jobs_max {
            self.jobs.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Jobs);
        }
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.bytes_max {
            self.release(job);
            return Err(Full::Bytes);
        }
        Ok(())
    }

    /// Counts `job` out: it waits no longer.
    pub(crate) fn release(&self, job: &Job) {
        self.jobs.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes_of(job), Ordering::Relaxed);
    }

    pub(crate) fn jobs(&self) -> usize {
        self.jobs.load(Ordering::Relaxed)
    }
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
        assert_eq!((backlog.jobs(), backlog.bytes.into_inner()), (0, 0));
    }
}
