//! What a request's conditions and range ask for (RFC 9110, sections 13 and 14).

use axum::http::header::{self, HeaderMap, HeaderName};
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// 200: everything.
    Whole,
    /// 206: these bytes, at least one.
    Part(Range<u64>),
    /// 304: the client has it.
    NotModified,
    /// 412: the client asked for another state of the file.
    PreconditionFailed,
    /// 416: no byte of the range exists.
    Unsatisfiable,
}

/// What a file is at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State<'a> {
    /// A strong entity tag, in its quotation marks, without a comma.
    pub(crate) tag: &'a str,
    /// When it was written.
    pub(crate) modified: SystemTime,
    /// Bytes.
    pub(crate) size: u64,
}

/// Judges the conditions of a request in the order that RFC 9110 section 13.2.2 prescribes. Fields that cannot be
/// understood are ignored, as it asks. `is_get`: a range means nothing to any other method.
pub(crate) fn select(headers: &HeaderMap, is_get: bool, state: State<'_>) -> Selection {
    let modified = whole_second(state.modified);
    if has(headers, header::IF_MATCH) {
        if !names(headers, header::IF_MATCH, state.tag, Comparison::Strong) {
            return Selection::PreconditionFailed;
        }
    } else if date(headers, header::IF_UNMODIFIED_SINCE).is_some_and(|since| modified > since) {
        return Selection::PreconditionFailed;
    }
    if has(headers, header::IF_NONE_MATCH) {
        if names(headers, header::IF_NONE_MATCH, state.tag, Comparison::Weak) {
            return Selection::NotModified;
        }
    } else if date(headers, header::IF_MODIFIED_SINCE).is_some_and(|since| modified <= since) {
        return Selection::NotModified;
    }
    // A date in `If-Range` is too coarse to join bytes by: two publications may fall into one second.
    let is_current = match headers.get(header::IF_RANGE) {
        Some(tag) => tag.as_bytes() == state.tag.as_bytes(),
        None => true,
    };
    match headers.get(header::RANGE).and_then(|range| range.to_str().ok()).and_then(ByteRange::parse) {
        Some(range) if is_get && is_current => range.within(state.size),
        _ => Selection::Whole,
    }
}

/// One range of bytes. Several at once may be answered with the whole, and are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteRange {
    From(u64),
    FromTo(u64, u64),
    Last(u64),
}

impl ByteRange {
    fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        match range.trim().split_once('-')? {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    fn within(self, size: u64) -> Selection {
        let range = match self {
            Self::From(first) => first..size,
            Self::FromTo(first, last) => first..size.min(last.saturating_add(1)),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        if range.is_empty() { Selection::Unsatisfiable } else { Selection::Part(range) }
    }
}

/// Digits only; a number too large for any file is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names `tag`, or everything.
fn names(headers: &HeaderMap, field: HeaderName, tag: &str, comparison: Comparison) -> bool {
    let lines = headers.get_all(field).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|given| {
        let weak = given.strip_prefix("W/").filter(|_| comparison == Comparison::Weak);
        given == "*" || weak.unwrap_or(given) == tag
    })
}

fn has(headers: &HeaderMap, field: HeaderName) -> bool {
    headers.contains_key(field)
}

fn date(headers: &HeaderMap, field: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(field)?.to_str().ok()?).ok()
}

/// Dates in HTTP have seconds; a file written within one was not written after it.
fn whole_second(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH)
        .map_or(UNIX_EPOCH, |since| UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::time::Duration;

    const TAG: &str = "\"abc\"";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    /// A file of ten bytes, written half a second after [`DATE`].
    fn check(headers: &[(HeaderName, &str)], expected: Selection) {
        assert_eq!(selected(headers, true), expected, "{headers:?}");
    }

    fn selected(headers: &[(HeaderName, &str)], is_get: bool) -> Selection {
        let modified = httpdate::parse_http_date(DATE).unwrap() + Duration::from_millis(500);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        select(&map, is_get, State { tag: TAG, modified, size: 10 })
    }

    #[test]
    fn one_range_is_cut_out() {
        for (range, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-9", 0..10),
            ("bytes=2-5", 2..6),
            ("Bytes = 9-", 9..10),
            ("bytes=0-99999999999999999999999", 0..10),
            ("bytes=-3", 7..10),
            ("bytes=-11", 0..10),
        ] {
            check(&[(header::RANGE, range)], Selection::Part(part));
        }
    }

    #[test]
    fn a_range_beyond_the_end_is_refused() {
        for range in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=18446744073709551615-"] {
            check(&[(header::RANGE, range)], Selection::Unsatisfiable);
        }
        let empty = State { tag: TAG, modified: UNIX_EPOCH, size: 0 };
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=-5"));
        assert_eq!(select(&headers, true, empty), Selection::Unsatisfiable);
    }

    #[test]
    fn ranges_that_mean_nothing_or_too_much_are_ignored() {
        for range in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=+1-2", "lines=1-2", "bytes=0-1,3-4"]
        {
            check(&[(header::RANGE, range)], Selection::Whole);
        }
        assert_eq!(selected(&[(header::RANGE, "bytes=0-1")], false), Selection::Whole);
        check(&[], Selection::Whole);
    }

    #[test]
    fn a_client_that_has_the_file_is_told_so() {
        for tags in [TAG, "*", "W/\"abc\"", "\"x\", \"abc\"", "\"x\",W/\"abc\""] {
            check(&[(header::IF_NONE_MATCH, tags)], Selection::NotModified);
        }
        check(&[(header::IF_NONE_MATCH, "\"x\""), (header::IF_NONE_MATCH, TAG)], Selection::NotModified);
        check(&[(header::IF_MODIFIED_SINCE, DATE)], Selection::NotModified);
        for tags in ["", "abc", "\"x\"", "\"abcd\""] {
            check(&[(header::IF_NONE_MATCH, tags), (header::IF_MODIFIED_SINCE, DATE)], Selection::Whole);
        }
        check(&[(header::IF_MODIFIED_SINCE, EARLIER)], Selection::Whole);
        check(&[(header::IF_MODIFIED_SINCE, "yesterday")], Selection::Whole);
    }

    #[test]
    fn a_client_that_wants_another_state_is_refused() {
        for tags in [TAG, "*", "\"x\", \"abc\""] {
            check(&[(header::IF_MATCH, tags), (header::IF_UNMODIFIED_SINCE, EARLIER)], Selection::Whole);
        }
        for tags in ["\"x\"", "W/\"abc\""] {
            check(&[(header::IF_MATCH, tags)], Selection::PreconditionFailed);
        }
        check(&[(header::IF_UNMODIFIED_SINCE, EARLIER)], Selection::PreconditionFailed);
        check(&[(header::IF_UNMODIFIED_SINCE, DATE)], Selection::Whole);
    }

    #[test]
    fn parts_are_joined_only_to_the_same_bytes() {
        let range = (header::RANGE, "bytes=1-2");
        check(&[range.clone(), (header::IF_RANGE, TAG)], Selection::Part(1..3));
        for other in ["\"x\"", "W/\"abc\"", DATE] {
            check(&[range.clone(), (header::IF_RANGE, other)], Selection::Whole);
        }
    }
}
