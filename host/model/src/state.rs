//! Where a plugin stands.

/// A plugin's state. While a generation is prepared beside the one that serves, and when one fails there, it stays what
/// it was; while the last one drains the plugin is no longer listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginState {
    /// Advertised by what it described when it served last. Nothing of it serves yet, and its calls wait.
    Preparing,
    /// Serving.
    Running,
    /// Not serving, and why.
    Failed {
        /// One line for the operator.
        reason: String,
    },
    /// Taken out of service by the host, until somebody loads it.
    Quarantined {
        /// One line for the operator.
        reason: String,
    },
}

impl PluginState {
    /// The state as one lowercase word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Failed { .. } => "failed",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}
