//! A package's name and its versions, and nothing else: pip would take files, URLs and options as well.

/// The longest requirement, in bytes.
const BYTES_MAX: usize = 256;

/// Refuses what is more than a name, extras, versions and a marker (PEP 508 without URLs).
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let text = text.trim();
    if text.len() > BYTES_MAX {
        return Err("it is too long");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("it does not begin with a package's name");
    }
    if let Some(odd) = text.chars().find(|c| !is_plain(*c)) {
        return Err(match odd {
            '@' | '/' | ':' | '\\' => "only packages of the index are installed, no URLs and no files",
            _ => "it has a character that no requirement has",
        });
    }
    let name = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).map_or(text, |end| &text[..end]);
    // pip takes it for a file if there is one.
    if [".whl", ".zip", ".gz", ".tar", ".tgz"].iter().any(|extension| name.to_ascii_lowercase().ends_with(extension)) {
        return Err("only packages of the index are installed, no URLs and no files");
    }
    Ok(())
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " .,_-+*!<>=~()[];'\"".contains(c)
}

/// A package's name as indexes compare them (PEP 503).
pub(super) fn normalised(name: &str) -> String {
    let lower = name.trim().to_ascii_lowercase();
    let parts: Vec<&str> = lower.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_versions_extras_and_markers_are_requirements() {
        for text in [
            "httpx",
            "httpx>=0.27,<1",
            "requests[socks]==2.32.*",
            "tomli>=2; python_version < '3.11'",
            " a-b.c_d ~= 1.0 ",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn options_urls_and_files_are_none() {
        for text in [
            "",
            "--index-url=http://x",
            "-r other.txt",
            "./package",
            "/etc/package",
            "..",
            "git+https://host/a",
            "a @ https://host/a.whl",
            "file:///a",
            "a\n--pre",
            "a\\b",
            "package-1.0-py3-none-any.whl",
            "source.tar.gz",
            &"a".repeat(300),
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_compared_as_indexes_do() {
        assert_eq!(normalised("Charset_Normalizer"), "charset-normalizer");
        assert_eq!(normalised("zope..interface"), "zope-interface");
    }
}
