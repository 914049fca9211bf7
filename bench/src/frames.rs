//! What comes from the broker, cut into messages.

use anyhow::{Context, bail};

/// One thing the broker said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A message of our subscription: the last token of its subject, and its payload.
    Message { token: &'a [u8], payload: &'a [u8] },
    /// It wants a PONG.
    Ping,
    /// It answered our PING.
    Pong,
    /// Nothing to act on: `INFO`, `+OK`.
    Other,
}

/// Takes one whole frame off the front: the frame and what remains, or `None` when its end has not arrived.
///
/// # Errors
///
/// The broker reported an error, or speaks something else than NATS.
pub(crate) fn take(input: &[u8]) -> anyhow::Result<Option<(Frame<'_>, &[u8])>> {
    let Some(end) = memchr::memmem::find(input, b"\r\n") else { return Ok(None) };
    let (line, rest) = input.split_at(end);
    let rest = rest.get(2..).unwrap_or_default();
    if let Some(head) = line.strip_prefix(b"MSG ") {
        let length_at = memchr::memrchr(b' ', head).context("a MSG line without a length")?;
        let length: usize = number(head.get(length_at + 1..).unwrap_or_default())?;
        let subject = head.split(|byte| *byte == b' ').next().unwrap_or_default();
        let token = memchr::memrchr(b'.', subject).and_then(|dot| subject.get(dot + 1..)).unwrap_or(subject);
        let (Some(payload), Some(after)) = (rest.get(..length), rest.get(length + 2..)) else { return Ok(None) };
        return Ok(Some((Frame::Message { token, payload }, after)));
    }
    let frame = match line {
        b"PING" => Frame::Ping,
        b"PONG" => Frame::Pong,
        _ if line.starts_with(b"INFO ") || line == b"+OK" => Frame::Other,
        _ => bail!("the broker said {:?}", String::from_utf8_lossy(line)),
    };
    Ok(Some((frame, rest)))
}

/// A decimal number.
pub(crate) fn number(text: &[u8]) -> anyhow::Result<usize> {
    let text = std::str::from_utf8(text)?;
    text.parse().with_context(|| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_at_its_length() {
        let input = b"MSG _INBOX.b.7 1 4\r\na\r\nb\r\nPING\r\n";
        let (frame, rest) = take(input).unwrap().unwrap();
        assert_eq!(frame, Frame::Message { token: b"7", payload: b"a\r\nb" });
        let (frame, rest) = take(rest).unwrap().unwrap();
        assert_eq!((frame, rest), (Frame::Ping, &b""[..]));
    }

    #[test]
    fn a_part_of_a_frame_waits_for_the_rest() {
        let whole = b"MSG _INBOX.b.7 1 4\r\nabcd\r\n";
        for end in 0..whole.len() {
            assert_eq!(take(&whole[..end]).unwrap(), None, "the first {end} bytes");
        }
        assert!(take(whole).unwrap().is_some());
    }

    #[test]
    fn an_error_of_the_broker_is_one_here() {
        assert!(take(b"-ERR 'Authorization Violation'\r\n").is_err());
    }
}
