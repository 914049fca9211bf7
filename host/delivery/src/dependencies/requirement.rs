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
    let name = name(text);
    // pip takes it for a file if there is one.
    if [".whl", ".zip", ".gz", ".tar", ".tgz"].iter().any(|extension| name.to_ascii_lowercase().ends_with(extension)) {
        return Err("only packages of the index are installed, no URLs and no files");
    }
    Ok(())
}

/// The name in what [`check`] accepts.
pub(super) fn name(text: &str) -> &str {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// Whether it may count nothing, in what [`check`] accepts.
pub(super) fn is_marked(text: &str) -> bool {
    text.contains(';')
}

/// A package's requirement as it counts where these extras of the package are wanted; none where it is for another extra.
pub(super) fn of_extras(text: &str, wanted: &[String]) -> Option<String> {
    let (requirement, marker) = text.split_once(';').unwrap_or((text, ""));
    let Some(at) = marker.find("extra") else { return Some(text.trim().to_owned()) };
    // `extra == "socks"`, alone or with more: the clause is true where that extra is wanted.
    let clause = marker.get(at..)?;
    let (_, quoted) = clause.split_once("==")?;
    let quote = quoted.trim_start().chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut parts = quoted.splitn(3, quote);
    let (_, extra, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if !wanted.iter().any(|each| normalised(each) == normalised(extra)) {
        return None;
    }
    let marker = format!("{}python_version >= '3'{rest}", marker.get(..at)?);
    Some(format!("{}; {}", requirement.trim(), marker.trim()))
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
    fn what_a_package_requires_for_an_extra_counts_where_that_is_wanted() {
        let wanted = ["Socks".to_owned()];
        assert_eq!(of_extras("idna<4,>=2.5", &[]).as_deref(), Some("idna<4,>=2.5"));
        assert_eq!(of_extras("a; python_version < '3.9'", &[]).as_deref(), Some("a; python_version < '3.9'"));
        assert_eq!(of_extras("PySocks>=1.5; extra == \"socks\"", &[]), None);
        assert_eq!(of_extras("chardet ; extra == 'chardet'", &wanted), None);
        let socks = of_extras("PySocks>=1.5; extra == \"socks\"", &wanted);
        assert_eq!(socks.as_deref(), Some("PySocks>=1.5; python_version >= '3'"));
        let both = of_extras("w; (sys_platform == 'win32') and extra == 'socks'", &wanted).unwrap();
        assert_eq!(both, "w; (sys_platform == 'win32') and python_version >= '3'");
        assert_eq!(check(&both), Ok(()));
    }

    #[test]
    fn names_are_compared_as_indexes_do() {
        assert_eq!(normalised("Charset_Normalizer"), "charset-normalizer");
        assert_eq!(normalised("zope..interface"), "zope-interface");
    }
}
