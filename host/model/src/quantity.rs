//! Sizes and time spans that carry their unit, in manifests and settings alike.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written with its unit: `64MiB`, `16KiB`, `1GiB`, `512B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A span of time, written with its unit: `500ms`, `5s`, `1m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(pub Duration);

/// Text that is no size or no time span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No whole number in front.
    #[error("expected a whole number and a unit ({units}), got `{text}`")]
    Number {
        /// As written.
        text: String,
        /// The units there are.
        units: &'static str,
    },
    /// A number alone: what it counts would be a guess.
    #[error("`{text}` has no unit: expected one of {units}")]
    NoUnit {
        /// As written.
        text: String,
        /// The units there are.
        units: &'static str,
    },
    /// A unit that is none of ours.
    #[error("unknown unit in `{text}`: expected one of {units}")]
    Unit {
        /// As written.
        text: String,
        /// The units there are.
        units: &'static str,
    },
    /// More than 64 bits hold.
    #[error("`{text}` is too large")]
    Overflow {
        /// As written.
        text: String,
    },
}

const SIZE_UNITS: &str = "B, KiB, MiB, GiB";
const TIME_UNITS: &str = "ms, s, m, h";

impl ByteSize {
    /// `n` KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text, SIZE_UNITS, |unit| match unit {
            "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        })
        .map(Self)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        largest(f, self.0, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")])
    }
}

impl FromStr for TimeSpan {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text, TIME_UNITS, |unit| match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        })
        .map(|milliseconds| Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for TimeSpan {
    /// In the largest unit that leaves a whole number; parts of a millisecond are cut off.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        largest(f, milliseconds, &[(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")])
    }
}

fn parse(text: &str, units: &'static str, factor: impl Fn(&str) -> Option<u64>) -> Result<u64, QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let owned = || text.to_owned();
    if number.is_empty() {
        return Err(QuantityError::Number { text: owned(), units });
    }
    if unit.is_empty() {
        return Err(QuantityError::NoUnit { text: owned(), units });
    }
    let factor = factor(unit).ok_or_else(|| QuantityError::Unit { text: owned(), units })?;
    // Digits alone can only fail to parse by being too many.
    let number: u64 = number.parse().map_err(|_| QuantityError::Overflow { text: owned() })?;
    number.checked_mul(factor).ok_or_else(|| QuantityError::Overflow { text: owned() })
}

fn largest(f: &mut fmt::Formatter<'_>, value: u64, units: &[(u64, &str)]) -> fmt::Result {
    let fits = |factor: u64| factor == 1 || (value >= factor && value.is_multiple_of(factor));
    let (factor, unit) = units.iter().copied().find(|&(factor, _)| fits(factor)).unwrap_or((1, ""));
    write!(f, "{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, shown) in [
            ("0B", 0, "0B"),
            ("512B", 512, "512B"),
            ("1024B", 1024, "1KiB"),
            ("16KiB", 16 << 10, "16KiB"),
            ("64MiB", 64 << 20, "64MiB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("1025KiB", 1025 << 10, "1025KiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn time_spans_are_read_and_written() {
        for (text, milliseconds, shown) in [
            ("0s", 0, "0ms"),
            ("500ms", 500, "500ms"),
            ("1500ms", 1500, "1500ms"),
            ("5s", 5000, "5s"),
            ("60s", 60_000, "1m"),
            ("90s", 90_000, "90s"),
            ("1h", 3_600_000, "1h"),
        ] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (Duration::from_millis(milliseconds), shown));
        }
    }

    #[test]
    fn each_malformation_has_its_own_variant() {
        let size = |text: &str| text.parse::<ByteSize>().unwrap_err();
        for text in ["", "MiB", "-1MiB", " 1MiB", "+1B", "x"] {
            assert!(matches!(size(text), QuantityError::Number { .. }), "{text}");
        }
        assert!(matches!(size("64"), QuantityError::NoUnit { .. }));
        for text in ["64MB", "64mib", "64 MiB", "64MiB ", "1.5MiB", "64M", "٣B"] {
            assert!(matches!(size(text), QuantityError::Unit { .. } | QuantityError::Number { .. }), "{text}");
        }
        for text in ["99999999999999999999B", "18446744073709551615KiB"] {
            assert!(matches!(size(text), QuantityError::Overflow { .. }), "{text}");
        }
        assert!(matches!("5min".parse::<TimeSpan>(), Err(QuantityError::Unit { .. })));
        assert!(matches!("5".parse::<TimeSpan>(), Err(QuantityError::NoUnit { .. })));
    }
}
