//! `wasi:cli/stdout` and `stderr`: captured line by line into the plugin's log.

use crate::view::Shared;
use async_trait::async_trait;
use bytes::Bytes;
use mortise_plugin::Services;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// How many bytes a guest may write at once. Logging never blocks, so this bounds one copy, nothing else.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// A stream whose lines become lines of the log. Clones share one buffer.
#[derive(Clone)]
pub(crate) struct LineLog(Arc<Mutex<Lines>>);

/// A line in the making. At the end of the instance the rest is logged as well.
struct Lines {
    services: Arc<Services>,
    level: tracing::Level,
    source: &'static str,
    bytes_max: usize,
    line: Vec<u8>,
    /// Whether more came than is kept.
    is_cut: bool,
}

impl LineLog {
    pub(crate) fn stdout(shared: &Shared) -> Self {
        Self::new(shared, tracing::Level::INFO, "stdout")
    }

    pub(crate) fn stderr(shared: &Shared) -> Self {
        Self::new(shared, tracing::Level::WARN, "stderr")
    }

    fn new(shared: &Shared, level: tracing::Level, source: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            services: Arc::clone(&shared.services),
            level,
            source,
            bytes_max: usize::try_from(shared.limits.log_line.0).unwrap_or(usize::MAX),
            line: Vec::new(),
            is_cut: false,
        })))
    }

    fn push(&self, bytes: &[u8]) {
        // Held for the copy of one line; only the guest's own streams contend.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        if let Some(first) = pieces.next() {
            self.extend(first);
        }
        for piece in pieces {
            self.flush();
            self.extend(piece);
        }
    }

    /// What is over the limit of a line is dropped up to its end.
    fn extend(&mut self, piece: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.line.len());
        self.is_cut |= piece.len() > room;
        self.line.extend(piece.iter().take(room));
    }

    /// Lines without text are dropped.
    fn flush(&mut self) {
        if !self.line.trim_ascii().is_empty() {
            let line = String::from_utf8_lossy(&self.line);
            if self.is_cut {
                self.services.log_beginning(self.level, self.source, &line);
            } else {
                self.services.log(self.level, self.source, &line);
            }
        }
        self.line.clear();
        self.is_cut = false;
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.flush();
        }
    }
}

impl IsTerminal for LineLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LineLog {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for LineLog {
    async fn ready(&mut self) {}
}

impl OutputStream for LineLog {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_limit_and_joined_over_writes() {
        let mut lines = Lines {
            services: Arc::clone(&crate::host::plugin::tests::view().shared.services),
            level: tracing::Level::TRACE,
            source: "stdout",
            bytes_max: 4,
            line: Vec::new(),
            is_cut: false,
        };
        lines.push(b"ab");
        lines.push(b"cdef");
        assert_eq!((lines.line.as_slice(), lines.is_cut), (b"abcd".as_slice(), true));
        lines.push(b"g\nx\ny");
        assert_eq!((lines.line.as_slice(), lines.is_cut), (b"y".as_slice(), false));
    }
}
