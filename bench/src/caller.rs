//! The load generator. It speaks NATS's text protocol on one blocking socket, with every request built beforehand, so that it
//! costs a fraction of what it measures.

use crate::frames::{self, Frame};
use crate::sample::Sample;
use anyhow::{Context, bail};
use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A call without an answer for this long is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// One connection to the broker.
pub(crate) struct Caller {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    inbox: String,
    requests: u64,
}

impl Caller {
    /// Connects and subscribes to an inbox of its own; `name` keeps inboxes apart.
    pub(crate) fn connect(address: &str, name: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOST_AFTER))?;
        let inbox = format!("_INBOX.{name}");
        let mut caller =
            Self { stream, input: vec![0; 1 << 20], filled: 0, output: Vec::new(), inbox: inbox.clone(), requests: 0 };
        let greeting = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"{name}\",\"lang\":\"rust\",\"version\":\"0\"}}\r\n\
             SUB {inbox}.* 1\r\nPING\r\n"
        );
        caller.stream.write_all(greeting.as_bytes())?;
        let mut ready = false;
        while !ready {
            caller.receive(|frame, _| ready |= frame == Frame::Pong)?;
        }
        Ok(caller)
    }

    /// Reads once and hands over every whole frame. What is put into the second argument is sent afterwards.
    fn receive(&mut self, mut handle: impl FnMut(Frame<'_>, &mut Vec<u8>)) -> anyhow::Result<()> {
        let space =
            self.input.get_mut(self.filled..).filter(|space| !space.is_empty()).context("a frame beyond 1 MiB")?;
        let read = self.stream.read(space)?;
        if read == 0 {
            bail!("the broker closed the connection");
        }
        self.filled += read;
        let mut rest = self.input.get(..self.filled).unwrap_or_default();
        while let Some((frame, after)) = frames::take(rest)? {
            rest = after;
            if frame == Frame::Ping {
                self.output.extend_from_slice(b"PONG\r\n");
            }
            handle(frame, &mut self.output);
        }
        let (begin, end) = (self.filled - rest.len(), self.filled);
        self.input.copy_within(begin..end, 0);
        self.filled = end - begin;
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    fn frame(&self, call: &Call, token: usize) -> Vec<u8> {
        let payload =
            format!(r#"{{"jsonrpc":"2.0","id":"bench-{token}","method":"{}","params":{}}}"#, call.method, call.params);
        format!("PUB {} {}.{token} {}\r\n{payload}\r\n", call.subject, self.inbox, payload.len()).into_bytes()
    }

    /// One call; its reply as JSON, or `None` when none came within `limit`.
    pub(crate) fn ask(&mut self, call: &Call, limit: Duration) -> anyhow::Result<Option<serde_json::Value>> {
        // A token that no drive uses and no other call here, so that a late answer is not taken for this one.
        self.requests += 1;
        let token = 1_000_000 + usize::try_from(self.requests)?;
        self.output = self.frame(call, token);
        self.flush()?;
        let wanted = token.to_string();
        let deadline = Instant::now() + limit;
        let mut reply = None;
        while reply.is_none() {
            let Some(remaining) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            self.stream.set_read_timeout(Some(remaining))?;
            let received = self.receive(|frame, _| {
                if let Frame::Message { token, payload } = frame
                    && token == wanted.as_bytes()
                {
                    reply = Some(serde_json::from_slice(payload));
                }
            });
            if let Err(error) = received
                && !is_timeout(&error)
            {
                return Err(error);
            }
        }
        self.stream.set_read_timeout(Some(LOST_AFTER))?;
        Ok(reply.transpose()?)
    }

    /// One call that must succeed; its result.
    pub(crate) fn call(&mut self, call: &Call) -> anyhow::Result<serde_json::Value> {
        let reply = self.ask(call, LOST_AFTER)?.with_context(|| format!("`{}` was not answered", call.method))?;
        reply.get("result").cloned().with_context(|| format!("`{}` failed: {reply}", call.method))
    }

    /// One call of a host function that must succeed.
    pub(crate) fn succeed(&mut self, call: &Call) -> anyhow::Result<()> {
        let result = self.call(call)?;
        if result.get("status").and_then(|status| status.as_str()) != Some("success") {
            bail!("`{}` failed: {result}", call.method);
        }
        Ok(())
    }

    /// Makes these calls in turn, the next when `pace` has passed since the last was due, for as long as `span`.
    pub(crate) fn pace<const N: usize>(
        &mut self,
        calls: [&Call; N],
        pace: Duration,
        span: Duration,
    ) -> anyhow::Result<[Sample; N]> {
        let mut samples = std::array::from_fn(|_| Sample::default());
        let begin = Instant::now();
        let mut due = begin;
        while begin.elapsed() < span {
            for (call, sample) in calls.iter().zip(&mut samples) {
                let sent = Instant::now();
                match self.ask(call, LOST_AFTER)? {
                    Some(reply) => sample.add(sent.elapsed(), reply.get("result").is_some()),
                    None => sample.lost += 1,
                }
                // What took longer than its turn makes the next one late, and not two at once.
                due = (due + pace).max(Instant::now());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        for sample in &mut samples {
            sample.elapsed = begin.elapsed();
        }
        Ok(samples)
    }

    /// Keeps `in_flight` calls going while `more()` says so, then waits for those under way.
    pub(crate) fn drive(
        &mut self,
        call: &Call,
        in_flight: usize,
        mut more: impl FnMut() -> bool,
    ) -> anyhow::Result<Sample> {
        let frames: Vec<Vec<u8>> = (0..in_flight).map(|token| self.frame(call, token)).collect();
        let mut sample = Sample::default();
        let begin = Instant::now();
        let mut sent = vec![begin; in_flight];
        self.output = frames.concat();
        self.flush()?;
        let mut under_way = in_flight;
        let mut going = true;
        while under_way > 0 {
            let received = self.receive(|frame, output| {
                let Frame::Message { token, payload } = frame else { return };
                let Ok(slot) = frames::number(token) else { return };
                let (Some(since), Some(next)) = (sent.get_mut(slot), frames.get(slot)) else { return };
                let now = Instant::now();
                sample.add(now - *since, memchr::memmem::find(payload, b"\"result\"").is_some());
                going = going && more();
                if going {
                    *since = now;
                    output.extend_from_slice(next);
                } else {
                    under_way -= 1;
                }
            });
            match received {
                Ok(()) => {}
                Err(error) if is_timeout(&error) => {
                    sample.lost += under_way as u64;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        sample.elapsed = begin.elapsed();
        Ok(sample)
    }
}

fn is_timeout(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// What is called, and where.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The device's `cmd` subject.
    pub(crate) subject: String,
    /// The function.
    pub(crate) method: Cow<'static, str>,
    /// Its parameters, as JSON.
    pub(crate) params: String,
}
