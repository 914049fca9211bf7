//! Patterns of names, in permissions and settings alike.

/// Whether the whole of `text` matches `pattern`, in which `*` stands for any run of characters and `?` for one.
///
/// Takes at most the product of the two lengths, whoever wrote the pattern.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Behind the last `*`, and the text that it has not swallowed yet.
    let mut last_star = None;
    loop {
        let here = text.clone();
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                last_star = Some((pattern.clone(), here.clone()));
                text = here;
            }
            (None, None) => return true,
            (Some(wanted), Some(c)) if wanted == '?' || wanted == c => {}
            _ => {
                // Let the last `*` swallow one more. An earlier one need not: the last can take what that leaves.
                let Some((behind, left)) = &mut last_star else { return false };
                if left.next().is_none() {
                    return false;
                }
                (pattern, text) = (behind.clone(), left.clone());
            }
        }
    }
}

/// Whether some text matches both patterns, in which `*` stands for any run of characters, and nothing else for others than
/// itself. Takes at most the product of the two lengths.
#[must_use]
pub fn globs_meet(one: &str, other: &str) -> bool {
    let other = other.as_bytes();
    // The places in `other` that can have been reached together with the place in `one`.
    let mut reached = vec![false; other.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    swallow(&mut reached, other);
    for wanted in one.bytes() {
        let mut next = vec![false; other.len() + 1];
        let mut before = false;
        for (place, (next, reached)) in next.iter_mut().zip(&reached).enumerate() {
            let last = place.checked_sub(1).and_then(|last| other.get(last));
            *next = match (wanted, other.get(place)) {
                // Both go on by any run of characters.
                (b'*', _) => *reached || before,
                // A `*` of the other takes it and stays.
                (_, Some(b'*')) if *reached => true,
                _ => before && last == Some(&wanted),
            };
            before = if wanted == b'*' { *next } else { *reached };
        }
        reached = next;
        swallow(&mut reached, other);
    }
    reached.last().is_some_and(|end| *end)
}

/// A `*` of `other` may stand for nothing.
fn swallow(reached: &mut [bool], other: &[u8]) {
    let mut before = false;
    for (place, reached) in reached.iter_mut().enumerate() {
        let last = place.checked_sub(1).and_then(|last| other.get(last));
        *reached |= before && last == Some(&b'*');
        before = *reached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("*", "anything", true),
            ("*", "", true),
            ("camera-*", "camera-1", true),
            ("camera-*", "a-camera-1", false),
            ("camera-?", "camera-1", true),
            ("camera-?", "camera-", false),
            ("camera-?", "camera-12", false),
            ("*-1", "camera-1", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*?c", "abc", true),
            ("a*?c", "ac", false),
            ("a**", "a", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("exactly", "exact", false),
            ("ab*ba", "aba", false),
            ("?", "ä", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_others() {
        let text = "a".repeat(5_000);
        assert!(!glob(&format!("{}b", "a*".repeat(200)), &text));
        assert!(glob(&"a*".repeat(200), &text));
    }

    #[test]
    fn patterns_meet_in_a_text_that_both_match() {
        for (one, other, expected) in [
            ("", "", true),
            ("", "*", true),
            ("a", "", false),
            ("a", "a", true),
            ("a", "b", false),
            ("*", "*", true),
            ("a*", "*b", true),
            ("a*", "b*", false),
            ("*a", "*b", false),
            ("a*c", "ab*", true),
            ("a*c", "*b*d", false),
            ("camera-*", "camera", false),
            ("x*y*z", "*a*", true),
        ] {
            assert_eq!(globs_meet(one, other), expected, "`{one}` and `{other}`");
            assert_eq!(globs_meet(other, one), expected, "`{other}` and `{one}`");
        }
    }
}
