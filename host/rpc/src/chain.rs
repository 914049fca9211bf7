//! How plugins came to call one another.

use mortise_model::PluginId;
use std::fmt;
use std::sync::Arc;

/// The calls from plugin to plugin that led to a call. Empty for what comes from elsewhere, and cheap to clone.
///
/// A plugin says on behalf of which call it makes another; the host knows the rest. What it makes on nobody's behalf has a depth, and
/// no functions.
#[derive(Clone, Default)]
pub struct CallChain {
    depth: u8,
    latest: Option<Arc<Link>>,
}

/// A function that called on, and what had led to it.
struct Link {
    plugin: PluginId,
    function: Arc<str>,
    before: Option<Arc<Self>>,
}

impl CallChain {
    /// How many calls there were.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// One call more, which `function` of `plugin` makes.
    #[must_use]
    pub fn by(&self, plugin: PluginId, function: Arc<str>) -> Self {
        let link = Link { plugin, function, before: self.latest.clone() };
        Self { depth: self.depth.saturating_add(1), latest: Some(Arc::new(link)) }
    }

    /// One call more, of which nobody knows the function that makes it; its depth alone counts.
    #[must_use]
    pub fn by_unknown(&self) -> Self {
        Self { depth: self.depth.saturating_add(1), latest: None }
    }

    /// Whether `function` of `plugin` made one of the calls, and so waits for what they led to.
    #[must_use]
    pub fn has(&self, plugin: &PluginId, function: &str) -> bool {
        self.links().any(|link| link.plugin == *plugin && *link.function == *function)
    }

    /// The latest first.
    fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::successors(self.latest.as_deref(), |link| link.before.as_deref())
    }
}

/// The functions in their order: `a.f > b.g`.
impl fmt::Display for CallChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links: Vec<&Link> = self.links().collect();
        for (index, Link { plugin, function, .. }) in links.into_iter().rev().enumerate() {
            let arrow = if index == 0 { "" } else { " > " };
            write!(f, "{arrow}{plugin}.{function}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CallChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallChain({}: {self})", self.depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(id: &str) -> PluginId {
        PluginId::new(id).unwrap()
    }

    #[test]
    fn a_chain_knows_who_waits_for_it() {
        let first = CallChain::default().by(plugin("a"), "f".into());
        let second = first.by(plugin("b"), "g".into());
        assert!(second.has(&plugin("a"), "f") && second.has(&plugin("b"), "g"));
        assert!(
            !second.has(&plugin("a"), "g")
                && !first.has(&plugin("b"), "g")
                && !CallChain::default().has(&plugin("a"), "f")
        );
        assert_eq!((second.depth(), second.to_string()), (2, "a.f > b.g".to_owned()));
    }

    #[test]
    fn what_is_called_on_nobodys_behalf_has_a_depth_alone() {
        let chain = CallChain::default().by(plugin("a"), "f".into()).by_unknown();
        assert_eq!((chain.depth(), chain.has(&plugin("a"), "f")), (2, false));
    }
}
