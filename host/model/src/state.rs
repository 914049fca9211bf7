//! Where a plugin stands.

/// A plugin's state. While it is prepared it has the one it had before; while it drains it is no longer listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginState {
    /// Serving.
    Running,
    /// Not serving, and why.
    Failed {
        /// One line for the operator.
        reason: String,
    },
}

impl PluginState {
    /// The state as one lowercase word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failed { .. } => "failed",
        }
    }
}
