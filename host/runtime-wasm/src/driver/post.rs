//! Where a driver stands: alone, or beside others of its generation.

use crate::backlog::Backlog;
use crate::pool::Member;
use crate::processor::{Processor, Share};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

/// Fields drop top to bottom.
pub(crate) enum Post {
    /// It is given its jobs.
    Alone {
        /// Counts what waits for it.
        backlog: Arc<Backlog>,
        /// Its place among the host's instances.
        _place: OwnedSemaphorePermit,
        /// Closed by its end, once the place is free.
        _ended: watch::Sender<()>,
    },
    /// It takes its jobs from a queue.
    Member {
        /// Its generation's among the host's instances; free when the last of them has ended.
        _place: Arc<OwnedSemaphorePermit>,
        /// Theirs together.
        processor: Arc<Mutex<Processor>>,
        /// Of the queue. Whoever waits for its end finds the place free.
        member: Member,
    },
}

impl Post {
    pub(super) fn member(&self) -> Option<&Member> {
        match self {
            Self::Alone { .. } => None,
            Self::Member { member, .. } => Some(member),
        }
    }

    pub(super) fn backlog(&self) -> Arc<Backlog> {
        match self {
            Self::Alone { backlog, .. } => Arc::clone(backlog),
            Self::Member { member, .. } => Arc::clone(member.backlog()),
        }
    }

    pub(super) fn processor(&self, per_minute: Duration) -> Share {
        match self {
            Self::Alone { .. } => Share::Own(Processor::new(per_minute, Instant::now())),
            Self::Member { processor, .. } => Share::Common(Arc::clone(processor)),
        }
    }
}
