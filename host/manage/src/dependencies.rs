//! Whether what Python plugins declare as dependencies is installed: the caller asks, the operator allows.

use crate::manager::Manager;
use mortise_delivery::{DependencyConfig, StageError, StagedPlugin, TreeLimits};

/// What a caller wishes, and what the operator allows.
pub(crate) struct Dependencies {
    /// None: whatever the operator has.
    wanted: Option<bool>,
    /// None: nothing is installed.
    config: Option<DependencyConfig>,
}

impl Dependencies {
    /// What is on this machine already, and no more.
    pub(crate) const NONE: Self = Self { wanted: Some(false), config: None };

    /// The plugin with its dependencies. Blocks.
    pub(crate) fn install(&self, plugin: StagedPlugin) -> Result<StagedPlugin, StageError> {
        plugin.with_dependencies(self.wanted, self.config.as_ref(), &TreeLimits::default())
    }

    /// Whether they are asked for, whatever is there.
    pub(crate) fn are_asked_for(&self) -> bool {
        self.wanted == Some(true)
    }
}

impl Manager {
    /// The wish, with what the operator allows now.
    pub(crate) fn dependencies(&self, wanted: Option<bool>) -> Dependencies {
        let policy = self.authority.policy();
        let policy = policy.dependencies();
        let is_on = policy.install || self.config.install_dependencies;
        let config = is_on.then(|| DependencyConfig {
            index: policy.index.clone(),
            allow: policy.allow.clone(),
            ..self.config.dependencies.clone()
        });
        Dependencies { wanted, config }
    }
}
