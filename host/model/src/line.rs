//! Texts and errors as one line, for people and logs.

use std::borrow::Cow;

/// An error and everything below it: `a: b: c`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// `text` with every run of blanks, line breaks and control characters as one blank, and none at its ends.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// `text` with its control characters spelled out, line breaks as well: one line that does nothing to a terminal.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// The beginning of `text`, at most `bytes_max` long and ending with a whole character.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("middle")]
    struct Middle(#[source] std::fmt::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(Middle(std::fmt::Error));
        assert_eq!(chain(&error), format!("outer: middle: {}", std::fmt::Error));
        assert_eq!(chain(&std::fmt::Error), std::fmt::Error.to_string());
    }

    #[test]
    fn whatever_a_text_holds_it_becomes_one_line() {
        for (text, expected) in [
            ("plain", "plain"),
            ("two\r\n\t lines", "two lines"),
            (" \u{7f}edges\u{1b} ", "edges"),
            ("a\u{0}b\u{2028}c", "a b c"),
            ("", ""),
        ] {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
    }

    #[test]
    fn control_characters_are_spelled_out_and_nothing_else() {
        for (text, expected) in [
            ("plain  \u{e9}\\", "plain  \u{e9}\\"),
            ("two\r\n\tlines", r"two\r\n\tlines"),
            ("\u{1b}[31m\u{7f}\u{9b}\0", r"\u{1b}[31m\u{7f}\u{9b}\u{0}"),
            ("", ""),
        ] {
            assert_eq!(visible(text), expected, "{text:?}");
        }
    }
}
