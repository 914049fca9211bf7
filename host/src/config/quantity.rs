//! Values as they are written in flags and variables: truth, durations, sizes.

use mortise_model::{ByteSize, TimeSpan};
use std::time::Duration;

/// `1`, `true`, `yes`, `on` and their opposites, in any case (wire contract 9.1).
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A time span with its unit, as manifests have it: `250ms`, `30s`, `2m`, `1h`. `bare_seconds` allows a number alone,
/// whole or not.
pub(super) fn parse_duration(text: &str, bare_seconds: bool) -> Option<Duration> {
    let text = text.trim();
    if bare_seconds && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Duration::try_from_secs_f64(text.parse().ok()?).ok();
    }
    text.parse::<TimeSpan>().ok().map(|span| span.0)
}

/// A size with its unit, as manifests have it: `512B`, `16MiB`. A number alone counts bytes, as in the reference host.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<ByteSize>().ok().map(|size| size.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_is_written_in_four_ways_and_any_case() {
        for text in ["1", "true", "YES", " On "] {
            assert_eq!(parse_bool(text), Some(true), "{text}");
        }
        for text in ["0", "False", "no", "off"] {
            assert_eq!(parse_bool(text), Some(false), "{text}");
        }
        for text in ["", "2", "enabled", "y"] {
            assert_eq!(parse_bool(text), None, "{text}");
        }
    }

    #[test]
    fn durations_carry_a_unit() {
        assert_eq!(parse_duration("250ms", false), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration(" 2m ", false), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h", true), Some(Duration::from_secs(3600)));
        for (bare, milliseconds) in [("60", 60_000), ("7.5", 7500)] {
            assert_eq!(parse_duration(bare, true), Some(Duration::from_millis(milliseconds)));
            assert_eq!(parse_duration(bare, false), None, "{bare}");
        }
        for bad in ["", "s", ".", "-1s", "1d", "1e3", "1.2.3", "1.5s", "99999999999999999999999"] {
            assert_eq!((parse_duration(bad, false), parse_duration(bad, true)), (None, None), "{bad}");
        }
    }

    #[test]
    fn sizes_are_whole_and_do_not_overflow() {
        assert_eq!(parse_bytes("10485760"), Some(10 << 20));
        assert_eq!(parse_bytes("16MiB"), Some(16 << 20));
        for bad in ["", "MiB", "1.5MiB", "10MB", "-1", "16 MiB", "99999999999999999999", "17179869184GiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
