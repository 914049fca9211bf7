//! Which known name a misspelt one was meant to be.

/// How long names may be that are compared, in bytes: the work grows with the product of their lengths, and a manifest's may
/// have any length.
const NAME_BYTES_MAX: usize = 64;

/// The known name closest to `name`, with how many single edits lie between them. Case, `_` and `-` do not count. A name that
/// is too long to be compared has none, and is none.
fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, usize)> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let name = plain(name);
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= NAME_BYTES_MAX)
        .map(|candidate| (candidate, strsim::damerau_levenshtein(&name, &plain(candidate))))
        .min_by_key(|&(_, distance)| distance)
}

/// What to suggest for a name that is refused in any case; nothing when no known name resembles it.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known).filter(|&(candidate, distance)| distance <= (candidate.len() / 2).min(3)).map(|(best, _)| best)
}

/// The known name that `name` can only be a slip of: at most two edits away, or one where the known name is so short
/// that two would reach ordinary words.
pub(crate) fn near_miss<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known)
        .filter(|&(candidate, distance)| distance <= if candidate.len() >= 6 { 2 } else { 1 })
        .map(|(best, _)| best)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_other_words() {
        let known = ["id", "type", "entry_point", "permissions"];
        for (name, expected) in [
            ("ID", Some("id")),
            ("tpye", Some("type")),
            ("entrypoint", Some("entry_point")),
            ("entryPoint", Some("entry_point")),
            ("entry-piont", Some("entry_point")),
            ("permisions", Some("permissions")),
            ("name", None),
            ("tags", None),
            ("ui", None),
        ] {
            assert_eq!(near_miss(name, known), expected, "{name}");
        }
        assert_eq!(suggestion("permits", known), None);
        assert_eq!(suggestion("pemisions", known), Some("permissions"));
    }

    #[test]
    fn long_names_are_not_compared() {
        let name = |bytes: usize| "x".repeat(bytes);
        let (longest, longer) = (name(NAME_BYTES_MAX), name(NAME_BYTES_MAX + 1));
        for (name, known, expected) in [
            (name(NAME_BYTES_MAX - 1), &longest, Some(longest.as_str())),
            (longer.clone(), &longest, None),
            (longest.clone(), &longer, None),
        ] {
            let bytes = name.len();
            assert_eq!(suggestion(&name, [known.as_str()]), expected, "{bytes}");
            assert_eq!(near_miss(&name, [known.as_str()]), expected, "{bytes}");
        }
    }
}
