//! Names of environment variables and secrets.

use std::fmt;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The name of an environment variable, or of a secret: of letters, digits, `_`, `-` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariableName(String);

impl VariableName {
    /// Checks a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: &str) -> Result<Self, &'static str> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() {
            Err("it is empty")
        } else if name.len() > NAME_BYTES_MAX {
            Err("no name is that long")
        } else if !name.chars().all(allowed) || name.starts_with('.') {
            // A secret is a file of that name.
            Err("it holds a character that no name has")
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_out_of_no_folder() {
        assert_eq!(VariableName::new("API_KEY-2.pem").unwrap().as_str(), "API_KEY-2.pem");
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "A=B", "a b", "A*", &"a".repeat(129)] {
            assert!(VariableName::new(name).is_err(), "{name}");
        }
    }
}
