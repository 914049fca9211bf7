//! Values as they are written in flags and variables: truth, durations, sizes.

use std::time::Duration;

/// `1`, `true`, `yes`, `on` and their opposites, in any case (wire contract 9.1).
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A number and its unit: `250ms`, `30s`, `2m`, `1h`. Fractions are fine. `bare_seconds` allows the number alone.
pub(super) fn parse_duration(text: &str, bare_seconds: bool) -> Option<Duration> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let factor = match unit.trim() {
        "" if bare_seconds => 1.0,
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}

/// A whole number of bytes, or of `KiB`, `MiB`, `GiB`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
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
        assert_eq!(parse_duration("1.5s", false), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2 m", false), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h", false), Some(Duration::from_secs(3600)));
        assert_eq!(parse_duration("60", true), Some(Duration::from_secs(60)));
        for bad in ["60", "", "s", "-1s", "1d", "1e3s", "1.2.3s"] {
            assert_eq!(parse_duration(bad, false), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_whole_and_do_not_overflow() {
        assert_eq!(parse_bytes("10485760"), Some(10 << 20));
        assert_eq!(parse_bytes("16MiB"), Some(16 << 20));
        for bad in ["", "MiB", "1.5MiB", "10MB", "-1", "99999999999999999999", "17179869184GiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
