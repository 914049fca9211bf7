//! What was granted, in memory and on disk.

use super::{GRANTS_MAX, GrantError, Shared, covers};
use crate::depot::DepotError;
use crate::refusal::chain;
use jiff::Timestamp;
use mortise_model::{Digest, Permission, PluginId};
use mortise_store::GrantRecord;
use tracing::{info, warn};

impl Shared {
    pub(super) fn grant(&self, plugin: &PluginId, grant: GrantRecord) -> Result<(), GrantError> {
        let _writing = self.writing();
        // An uninstall clears what it finds after it has taken the plugin off the record.
        let on_record = self.depot.store().plugin(plugin).map_err(DepotError::from)?.is_some();
        if !on_record && !self.depot.working_copy(plugin).is_dir() {
            return Err(GrantError::NotInstalled);
        }
        self.take_out_expired();
        let mut grants = self.book().grants.get(plugin).cloned().unwrap_or_default();
        let is_for_good = !grant.once && grant.expires_at.is_none();
        // What lasts longer stays beside what lasts less.
        let same_kind =
            |known: &GrantRecord| known.once == grant.once && known.expires_at.is_some() == grant.expires_at.is_some();
        let replaced = |known: &GrantRecord| {
            known.permission == grant.permission && known.tree == grant.tree && (is_for_good || same_kind(known))
        };
        grants.retain(|known| !replaced(known));
        if grants.len() >= GRANTS_MAX {
            return Err(GrantError::TooMany);
        }
        grants.push(grant);
        // On disk first: nobody has a permission that a restart takes away again.
        self.write(plugin, &grants)?;
        self.book().grants.insert(plugin.clone(), grants);
        self.changed();
        Ok(())
    }

    pub(super) fn revoke(&self, plugin: &PluginId, permission: &Permission) -> Result<Vec<Permission>, DepotError> {
        let _writing = self.writing();
        let (revoked, kept) = {
            let mut book = self.book();
            let grants = book.grants.remove(plugin).unwrap_or_default().into_iter();
            let (revoked, kept): (Vec<_>, Vec<_>) = grants.partition(|grant| permission.covers(&grant.permission));
            // In memory first: whatever the disk says, it is taken back.
            if !kept.is_empty() {
                book.grants.insert(plugin.clone(), kept.clone());
            }
            let mut unwritten = book.unwritten.remove(plugin).unwrap_or_default();
            unwritten.extend(revoked.into_iter().map(|grant| grant.permission));
            let revoked: Vec<_> = unwritten.iter().filter(|revoked| permission.covers(revoked)).cloned().collect();
            if !unwritten.is_empty() {
                book.unwritten.insert(plugin.clone(), unwritten);
            }
            (revoked, kept)
        };
        self.changed();
        if !revoked.is_empty() {
            self.write(plugin, &kept)?;
        }
        Ok(revoked)
    }

    pub(super) fn use_up(&self, plugin: &PluginId, tree: &Digest, access: &Permission) -> Result<bool, DepotError> {
        let _writing = self.writing();
        let now = Timestamp::now();
        let (used, left) = {
            let mut book = self.book();
            let book = &mut *book;
            let Some(grants) = book.grants.get_mut(plugin) else { return Ok(false) };
            let Some(at) = grants.iter().position(|grant| grant.once && covers(grant, tree, access, now)) else {
                return Ok(false);
            };
            let used = grants.remove(at).permission;
            let left = grants.clone();
            // Until that is on disk it can be revoked, although nobody has it any more.
            book.unwritten.entry(plugin.clone()).or_default().push(used.clone());
            (used, left)
        };
        self.write(plugin, &left)?;
        info!(%plugin, permission = %used, "a grant was used up");
        self.audit.grant_ended("use_up_grant", plugin, &used);
        Ok(true)
    }

    /// Takes out every grant whose time is over, and says when the next one's will be.
    pub(super) fn expire(&self) -> Option<Timestamp> {
        let _writing = self.writing();
        self.take_out_expired()
    }

    /// To be called with `writing` held.
    fn take_out_expired(&self) -> Option<Timestamp> {
        let now = Timestamp::now();
        let is_over = |grant: &GrantRecord| grant.expires_at.is_some_and(|expires_at| expires_at <= now);
        let mut changed = Vec::new();
        let mut next: Option<Timestamp> = None;
        for (plugin, grants) in &mut self.book().grants {
            let over: Vec<_> = grants.extract_if(.., |grant| is_over(grant)).map(|grant| grant.permission).collect();
            next = grants.iter().filter_map(|grant| grant.expires_at).chain(next).min();
            if !over.is_empty() {
                changed.push((plugin.clone(), over, grants.clone()));
            }
        }
        if !changed.is_empty() {
            self.changed();
        }
        for (plugin, over, left) in changed {
            for permission in over {
                info!(%plugin, %permission, "a grant's time is over");
                self.audit.grant_ended("expire_grant", &plugin, &permission);
            }
            // Nobody has it any more, whatever the disk says.
            if let Err(error) = self.write(&plugin, &left) {
                warn!(%plugin, error = chain(&error), "failed to write down that the time of a grant is over");
            }
        }
        next
    }

    pub(super) fn forget(&self, plugin: &PluginId) -> Result<(), DepotError> {
        let _writing = self.writing();
        {
            let mut book = self.book();
            book.grants.remove(plugin);
            book.denied.remove(plugin);
        }
        self.changed();
        self.write(plugin, &[])
    }

    /// To be called with `writing` held.
    fn write(&self, plugin: &PluginId, grants: &[GrantRecord]) -> Result<(), DepotError> {
        self.depot.store().write(|tx| tx.put_grants(plugin, grants))?;
        self.book().unwritten.remove(plugin);
        Ok(())
    }
}
