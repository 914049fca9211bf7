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
/// itself. Takes the product of the two lengths.
#[must_use]
pub fn globs_meet(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // Of what is left of `one` from `i` on: whether it meets what is left of `other` from `j` on.
    let mut below = vec![false; other.len() + 1];
    for i in (0..=one.len()).rev() {
        let mut here = vec![false; other.len() + 1];
        for j in (0..=other.len()).rev() {
            here[j] = match (one.get(i), other.get(j)) {
                (None, None) => true,
                (Some(b'*'), _) => below[j] || j < other.len() && here[j + 1],
                (_, Some(b'*')) => here[j + 1] || i < one.len() && below[j],
                (Some(a), Some(b)) => a == b && below[j + 1],
                _ => false,
            };
        }
        below = here;
    }
    below[0]
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
