//! One setting at a time: who says what, and who wins.

use super::env::{EnvVar, Environment};
use super::error::{ConfigError, ConfigWarning};
use super::quantity::{parse_bool, parse_bytes, parse_duration};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag, with its dashes.
    Flag(&'static str),
    /// An environment variable.
    Env(&'static str),
    /// A file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag `{name}`"),
            Self::Env(name) => write!(f, "environment `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Who said it.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// `value` as said by `origin`.
    pub(super) fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// The same origin with another value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), origin: self.origin }
    }
}

/// One line of `config show`: a setting, its value with secrets masked, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value, safe to print.
    pub value: String,
    /// Who said it.
    pub origin: Origin,
}

/// Reads settings by precedence and gathers everything that is wrong.
pub(super) struct Resolver<'a> {
    env: &'a dyn Environment,
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<ConfigWarning>,
    pub(super) settings: Vec<Setting>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(env: &'a dyn Environment) -> Self {
        Self { env, errors: Vec::new(), warnings: Vec::new(), settings: Vec::new() }
    }

    /// Where variables are read from.
    pub(super) fn environment(&self) -> &'a dyn Environment {
        self.env
    }

    /// Notes a failure; none is what the caller goes on with.
    pub(super) fn fail<T>(&mut self, error: impl Into<ConfigError>) -> Option<T> {
        self.errors.push(error.into());
        None
    }

    pub(super) fn show(&mut self, name: &'static str, value: impl fmt::Display, origin: &Origin) {
        self.settings.push(Setting { name, value: value.to_string(), origin: origin.clone() });
    }

    /// The first of `variables` that is set.
    pub(super) fn env(&mut self, variables: &[&EnvVar]) -> Option<Sourced<String>> {
        for variable in variables {
            match self.env.read(variable.name) {
                Ok(Some(value)) => return Some(Sourced::new(value, Origin::Env(variable.name))),
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
        }
        None
    }

    /// Notes a setting that changes nothing beside the others: as a flag, somebody asked for it and is refused; as a
    /// variable, it may be there for other programs, and is warned about.
    pub(super) fn without_effect(
        &mut self,
        flag: &'static str,
        value: Option<&str>,
        variable: &EnvVar,
        reason: &'static str,
    ) {
        match self.text(flag, value, &[variable]).map(|text| text.origin) {
            Some(Origin::Env(name)) => self.warnings.push(ConfigWarning::WithoutEffect { name, reason }),
            Some(origin) => self.errors.push(ConfigError::WithoutEffect { origin, reason }),
            None => {}
        }
    }

    /// Whether a variable outside the table is set.
    pub(super) fn is_set(&self, name: &'static str) -> bool {
        !matches!(self.env.read(name), Ok(None))
    }

    /// The flag, else the first of `variables` that is set. A flag given as blanks counts as not given.
    pub(super) fn text(
        &mut self,
        flag: &'static str,
        value: Option<&str>,
        variables: &[&EnvVar],
    ) -> Option<Sourced<String>> {
        match value.map(str::trim).filter(|value| !value.is_empty()) {
            Some(value) => Some(Sourced::new(value.to_owned(), Origin::Flag(flag))),
            None => self.env(variables),
        }
    }

    /// A switch: set by its flag, else by the first of `variables` that is set.
    pub(super) fn switch(&mut self, flag: &'static str, given: bool, variables: &[&EnvVar]) -> Option<Sourced<bool>> {
        if given {
            return Some(Sourced::new(true, Origin::Flag(flag)));
        }
        let text = self.env(variables)?;
        match parse_bool(&text.value) {
            Some(value) => Some(Sourced::new(value, text.origin)),
            None => self.fail(ConfigError::Value {
                origin: text.origin,
                value: text.value,
                expected: "`1`, `true`, `yes`, `on` or `0`, `false`, `no`, `off`",
            }),
        }
    }

    /// One of a few words, in any case.
    pub(super) fn word(
        &mut self,
        text: Sourced<String>,
        words: &'static [&'static str],
        expected: &'static str,
    ) -> Option<Sourced<&'static str>> {
        let lower = text.value.to_ascii_lowercase();
        match words.iter().find(|word| **word == lower) {
            Some(word) => Some(Sourced::new(word, text.origin)),
            None => self.fail(ConfigError::Value { origin: text.origin, value: text.value, expected }),
        }
    }

    /// A duration within bounds. `bare_seconds` allows a number without a unit.
    pub(super) fn duration(
        &mut self,
        text: Sourced<String>,
        bare_seconds: bool,
        bounds: std::ops::RangeInclusive<Duration>,
        expected: &'static str,
    ) -> Option<Sourced<Duration>> {
        match parse_duration(&text.value, bare_seconds).filter(|value| bounds.contains(value)) {
            Some(value) => Some(Sourced::new(value, text.origin)),
            None => self.fail(ConfigError::Number { origin: text.origin, value: text.value, expected }),
        }
    }

    /// A whole number within bounds.
    pub(super) fn count(
        &mut self,
        text: Sourced<String>,
        bounds: std::ops::RangeInclusive<usize>,
        expected: &'static str,
    ) -> Option<Sourced<usize>> {
        match text.value.parse().ok().filter(|value| bounds.contains(value)) {
            Some(value) => Some(Sourced::new(value, text.origin)),
            None => self.fail(ConfigError::Number { origin: text.origin, value: text.value, expected }),
        }
    }

    /// A size within bounds.
    pub(super) fn bytes(
        &mut self,
        text: Sourced<String>,
        bounds: std::ops::RangeInclusive<u64>,
        expected: &'static str,
    ) -> Option<Sourced<u64>> {
        match parse_bytes(&text.value).filter(|value| bounds.contains(value)) {
            Some(value) => Some(Sourced::new(value, text.origin)),
            None => self.fail(ConfigError::Number { origin: text.origin, value: text.value, expected }),
        }
    }

    /// A path with `~` expanded, made absolute; neither links nor `..` are resolved and nothing need exist.
    pub(super) fn path(&mut self, text: Sourced<String>) -> Option<Sourced<PathBuf>> {
        let expanded = match text.value.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => match self.env(&[&super::env::HOME]) {
                Some(home) => Path::new(&home.value).join(rest.trim_start_matches('/')),
                None => {
                    return self.fail(ConfigError::Path {
                        origin: text.origin,
                        path: text.value,
                        reason: "`HOME` is not set".into(),
                    });
                }
            },
            _ => PathBuf::from(&text.value),
        };
        match std::path::absolute(&expanded) {
            Ok(path) => Some(Sourced::new(path, text.origin)),
            Err(error) => {
                self.fail(ConfigError::Path { origin: text.origin, path: text.value, reason: error.to_string() })
            }
        }
    }
}
