//! Who owns a bare name (wire contract 6.5): the first plugin that brought it; the others wait in order.

use mortise_model::{FunctionName, PluginId};
use std::collections::BTreeMap;

/// Who claims each bare name, in order of arrival: the first owns it, the others wait.
pub type NameClaims = BTreeMap<FunctionName, Vec<PluginId>>;

/// Claims on bare names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ownership {
    claims: NameClaims,
}

/// A bare name that went to its longest-waiting claimant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The bare name.
    pub function: FunctionName,
    /// Who has it now.
    pub owner: PluginId,
}

impl Ownership {
    /// With the claims of an earlier process: whoever comes back finds its place.
    pub(crate) fn new(claims: NameClaims) -> Self {
        Self { claims }
    }

    pub(crate) fn claims(&self) -> &NameClaims {
        &self.claims
    }

    /// Who may use the bare name.
    pub(crate) fn owner(&self, function: &FunctionName) -> Option<&PluginId> {
        self.claims.get(function).and_then(|claimants| claimants.first())
    }

    /// Has `plugin` claim `functions` too: it keeps its place in those it has, and gives nothing up.
    pub(crate) fn queue(&mut self, plugin: &PluginId, functions: &[FunctionName]) {
        for function in functions {
            let claimants = self.claims.entry(function.clone()).or_default();
            if !claimants.contains(plugin) {
                claimants.push(plugin.clone());
            }
        }
    }

    /// Makes the claims of `plugin` exactly `functions`: keeps its place in those it has, gives up the others.
    pub(crate) fn claim(&mut self, plugin: &PluginId, functions: &[FunctionName]) -> Vec<Succession> {
        self.queue(plugin, functions);
        let mut passed = Vec::new();
        self.claims.retain(|function, claimants| {
            if !functions.contains(function) {
                let owned = claimants.first() == Some(plugin);
                claimants.retain(|claimant| claimant != plugin);
                if let (true, Some(heir)) = (owned, claimants.first()) {
                    passed.push(Succession { function: function.clone(), owner: heir.clone() });
                }
            }
            !claimants.is_empty()
        });
        passed.sort_by(|a, b| a.function.cmp(&b.function));
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(id: &str) -> PluginId {
        PluginId::new(id).unwrap()
    }

    fn function(name: &str) -> FunctionName {
        FunctionName::new(name).unwrap()
    }

    #[test]
    fn a_name_stays_with_its_first_owner_and_passes_to_the_longest_waiting() {
        let mut names = Ownership::default();
        let (a, b, c) = (plugin("a"), plugin("b"), plugin("c"));
        let (ping, echo) = (function("ping"), function("echo"));
        assert!(names.claim(&a, &[ping.clone(), echo.clone()]).is_empty());
        assert!(names.claim(&c, std::slice::from_ref(&ping)).is_empty());
        assert!(names.claim(&b, std::slice::from_ref(&ping)).is_empty());
        assert!(names.claim(&a, &[ping.clone(), echo.clone()]).is_empty(), "a reload keeps its names");
        assert_eq!(names.owner(&ping), Some(&a));

        assert_eq!(
            names.claim(&a, std::slice::from_ref(&echo)),
            [Succession { function: ping.clone(), owner: c.clone() }]
        );
        assert!(names.claim(&a, &[ping.clone(), echo.clone()]).is_empty());
        assert_eq!(names.owner(&ping), Some(&c), "who gave a name up queues again at the end");
        assert_eq!(names.claim(&c, &[]), [Succession { function: ping.clone(), owner: b }]);
        assert_eq!(names.claim(&a, &[]), []);
        assert_eq!(names.owner(&echo), None);
    }
}
