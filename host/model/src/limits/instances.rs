//! `limits.instances`: how many instances serve a plugin.

use super::{LimitError, count};
use crate::suggestion::suggestion;
use serde_json::Value;

/// How many instances serve a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// So many at most. A single one keeps its memory from call to call; of several any may take a call.
    UpTo(usize),
    /// A fresh one for each call, which ends with it; as many at once as [`Limits::concurrency`](super::Limits::concurrency) says.
    PerCall,
}

impl Instances {
    /// What a manifest writes for a fresh instance for each call.
    const PER_CALL: &str = "per-call";

    /// As manifests write it.
    pub(super) fn to_json(self) -> Value {
        match self {
            Self::UpTo(count) => count.into(),
            Self::PerCall => Self::PER_CALL.into(),
        }
    }

    /// How many at once this lets others ask for.
    pub(super) fn ceiling(self) -> usize {
        match self {
            Self::UpTo(count) => count,
            Self::PerCall => 1,
        }
    }

    /// Reads what a manifest writes, of which there may be so many at once.
    pub(super) fn parse(ceiling: usize, value: &Value) -> Result<Self, LimitError> {
        match value {
            Value::String(text) if text == Self::PER_CALL => Ok(Self::PerCall),
            value if value.is_u64() => count("instances", ceiling, value).map(Self::UpTo),
            value => {
                let per_call = value.as_str().is_some_and(|text| suggestion(text, [Self::PER_CALL]).is_some());
                Err(LimitError::Instances { got: value.to_string(), per_call })
            }
        }
    }
}
