//! Where a plugin stands in its life.

/// A plugin's state (design: `Installed → Preparing → Running → Draining → Stopped`, or `Failed`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginState {
    /// On disk, not loaded.
    Installed,
    /// A generation is being prepared; an older one may be serving.
    Preparing,
    /// Serving.
    Running,
    /// Taken out of the routes; its last calls are ending.
    Draining,
    /// Unloaded.
    Stopped,
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
            Self::Installed => "installed",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
        }
    }
}
