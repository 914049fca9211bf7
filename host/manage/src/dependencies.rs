//! Whether what Python plugins declare as dependencies is installed: the caller asks, the operator allows.

use crate::authority::Authority;
use crate::depot::asker_of_staged;
use crate::manager::Manager;
use mortise_delivery::{DependencyConfig, StageError, StagedPlugin, TreeLimits};

/// What a caller wishes, and what the operator allows.
pub(crate) struct Dependencies {
    /// None: whatever the operator has.
    wanted: Option<bool>,
    /// None: nothing is installed.
    rules: Option<(DependencyConfig, Authority)>,
}

impl Dependencies {
    /// What is on this machine already, and no more.
    pub(crate) const NONE: Self = Self { wanted: Some(false), rules: None };

    /// A plugin that has just arrived, with its dependencies. What it says itself of what was installed counts nothing. Blocks.
    pub(crate) fn of_arrived(&self, plugin: StagedPlugin) -> Result<StagedPlugin, StageError> {
        self.install(plugin.without_lock(&TreeLimits::default())?)
    }

    /// The plugin with its dependencies. Blocks.
    pub(crate) fn install(&self, plugin: StagedPlugin) -> Result<StagedPlugin, StageError> {
        let config = match &self.rules {
            // Nothing is fetched for a plugin that will be refused.
            Some((_, authority)) if authority.admit(asker_of_staged(&plugin), &plugin.manifest).is_err() => {
                return Ok(plugin);
            }
            Some((config, _)) => Some(config),
            None => None,
        };
        plugin.with_dependencies(self.wanted, config, &TreeLimits::default())
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
        let config = || DependencyConfig {
            index: policy.index.clone(),
            allow: policy.allow.clone(),
            ..self.config.dependencies.clone()
        };
        Dependencies { wanted, rules: is_on.then(|| (config(), self.authority.clone())) }
    }
}
