//! What plugins may do, now: what the policy gives them, and what somebody granted them besides.

mod grants;

use crate::audit::AuditLog;
use crate::blocking::blocking;
use crate::depot::{Depot, DepotError};
use crate::refusal::chain;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::Timestamp;
use mortise_model::{Digest, EventName, LimitError, Limits, Manifest, Permission, PluginId, RuntimeKind};
use mortise_plugin::{Asker, Denied, Leave};
use mortise_policy::{Policy, Subject, WhenDenied};
use mortise_store::GrantRecord;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// Different things that are remembered of what one plugin was denied; of more, those that were tried last.
const DENIED_KEPT_MAX: usize = 64;

/// How long the time that is left of a grant is not looked at again, at most.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Grants that one plugin may have.
const GRANTS_MAX: usize = 256;

/// Decides what plugins may do. Clones share it.
#[derive(Clone)]
pub struct Authority(Arc<Shared>);

struct Shared {
    policy: ArcSwap<Policy>,
    depot: Depot,
    audit: AuditLog,
    /// The std mutex is held for a look.
    book: Mutex<Book>,
    /// Held by whoever changes grants, on a thread that may block: what is on disk follows what is in memory.
    writing: Mutex<()>,
    /// Counts what changes somebody's permissions.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    grants: HashMap<PluginId, Vec<GrantRecord>>,
    /// Taken back, and perhaps still on disk.
    unwritten: HashMap<PluginId, Vec<Permission>>,
    denied: HashMap<PluginId, BTreeMap<Permission, Tried>>,
}

/// What a plugin tried and was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) times: u64,
    pub(crate) last_at: Timestamp,
}

/// By whose word a plugin has a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The operator's file.
    Policy,
    /// Somebody granted it.
    Grant,
    /// Somebody granted it for a single time.
    GrantOnce,
}

/// Why a plugin may not serve here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("the host's policy does not admit plugin `{0}`")]
    Plugin(PluginId),
    #[error("plugin `{id}` is of type `{kind}`, and this host runs nothing outside of the sandbox")]
    Type { id: PluginId, kind: RuntimeKind },
    #[error("plugin `{id}` asks for more than it may use: {error}")]
    Limit { id: PluginId, error: LimitError },
    #[error("plugin `{id}` asks for more than it is granted, which the host's policy refuses: {}", list(.lacking))]
    Lacking { id: PluginId, lacking: Vec<Permission>, cures: Vec<String> },
}

impl NotAdmitted {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Plugin(_) | Self::Lacking { .. } => "not_allowed",
            Self::Type { .. } => "type_not_allowed",
            Self::Limit { error, .. } => error.code(),
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Plugin(_) => "the operator admits plugins with `install` of a rule in the policy file".to_owned(),
            Self::Type { .. } => {
                "write it for `wasm` or in Python: no policy lets native or container plugins run".to_owned()
            }
            Self::Limit { error, .. } => error.hint(),
            Self::Lacking { cures, .. } => {
                format!("install it with `load` false; then, before it is loaded: {}", cures.join("; "))
            }
        }
    }
}

fn list(permissions: &[Permission]) -> String {
    permissions.iter().map(|permission| format!("`{permission}`")).collect::<Vec<_>>().join(", ")
}

/// Why a permission cannot be granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    #[error("a plugin may have {GRANTS_MAX} grants")]
    TooMany,
    #[error("it is not installed")]
    NotInstalled,
    #[error(transparent)]
    Depot(#[from] DepotError),
}

impl Authority {
    /// With the policy, and the grants on record. Blocks.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn open(policy: Policy, depot: Depot) -> Result<Self, DepotError> {
        let plugins = depot.store().plugins()?;
        let mut grants: HashMap<_, _> = depot.store().grants()?.into_iter().collect();
        // Of what an uninstall left behind nobody makes use.
        grants.retain(|id, _| plugins.contains_key(id) || depot.working_copy(id).is_dir());
        let book = Mutex::new(Book { grants, ..Book::default() });
        let policy = ArcSwap::from_pointee(policy);
        let audit = AuditLog::new(depot.state_dir());
        let (writing, changes) = (Mutex::new(()), watch::Sender::new(0));
        Ok(Self(Arc::new(Shared { policy, depot, audit, book, writing, changes })))
    }

    /// Where it is written down who had what changed.
    pub(crate) fn audit(&self) -> &AuditLog {
        &self.0.audit
    }

    /// The policy as it is now.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    pub(crate) fn set_policy(&self, policy: Policy) {
        self.0.policy.store(Arc::new(policy));
        self.0.changed();
    }

    /// By whose word a plugin has `permission`, all of it, if it has.
    pub(crate) fn holds(&self, asker: Asker<'_>, permission: &Permission) -> Option<By> {
        let policy = self.0.policy.load();
        if asker.wanted.cover(permission) && policy.grants(subject(asker), permission) {
            return Some(By::Policy);
        }
        if !policy.bears(subject(asker), permission) {
            return None;
        }
        let now = Timestamp::now();
        let book = self.0.book();
        let mut by = None;
        for grant in book.grants.get(asker.plugin)?.iter().filter(|grant| covers(grant, asker.tree, permission, now)) {
            // One for a single time is spared while another stays.
            if !grant.once {
                return Some(By::Grant);
            }
            by = Some(By::GrantOnce);
        }
        by
    }

    /// What of its wishes a plugin does not have.
    pub(crate) fn lacking(&self, asker: Asker<'_>) -> Vec<Permission> {
        asker.wanted.iter().filter(|wanted| self.holds(asker, wanted).is_none()).cloned().collect()
    }

    /// Whether a plugin may be put on record.
    pub(crate) fn admit(&self, asker: Asker<'_>, manifest: &Manifest) -> Result<(), NotAdmitted> {
        if !self.0.policy.load().admits_kind(manifest.runtime) {
            return Err(NotAdmitted::Type { id: asker.plugin.clone(), kind: manifest.runtime });
        }
        if !self.admits(asker) {
            return Err(NotAdmitted::Plugin(asker.plugin.clone()));
        }
        self.limits(asker, manifest).map(drop)
    }

    /// Whether a plugin may be here at all.
    pub(crate) fn admits(&self, asker: Asker<'_>) -> bool {
        self.0.policy.load().admits(subject(asker))
    }

    /// What a plugin may use.
    pub(crate) fn limits(&self, asker: Asker<'_>, manifest: &Manifest) -> Result<Limits, NotAdmitted> {
        limits_by(&self.0.policy.load(), asker, manifest)
    }

    /// Whether a plugin may serve.
    pub(crate) fn admit_to_serve(&self, asker: Asker<'_>, manifest: &Manifest) -> Result<(), NotAdmitted> {
        self.admit(asker, manifest)?;
        match self.0.policy.load().when_denied() {
            WhenDenied::Load => Ok(()),
            WhenDenied::Refuse => match self.lacking(asker) {
                lacking if lacking.is_empty() => Ok(()),
                lacking => {
                    let cures = lacking.iter().map(|lacking| self.cure(asker, lacking)).collect();
                    Err(NotAdmitted::Lacking { id: asker.plugin.clone(), lacking, cures })
                }
            },
        }
    }

    /// Whether the policy lets a plugin be granted `permission`.
    pub(crate) fn may_bear(&self, asker: Asker<'_>, permission: &Permission) -> bool {
        self.0.policy.load().bears(subject(asker), permission)
    }

    /// What was granted and has not ended.
    pub(crate) fn grants(&self, plugin: &PluginId) -> Vec<GrantRecord> {
        let now = Timestamp::now();
        let grants = self.0.book().grants.get(plugin).cloned().unwrap_or_default();
        grants.into_iter().filter(|grant| is_alive(grant, now)).collect()
    }

    /// What a plugin tried and was denied, since the host started.
    pub(crate) fn denied(&self, plugin: &PluginId) -> BTreeMap<Permission, Tried> {
        self.0.book().denied.get(plugin).cloned().unwrap_or_default()
    }

    /// Grants; in effect and on disk when this returns, beside what was granted before for less long.
    pub(crate) async fn grant(&self, plugin: &PluginId, grant: GrantRecord) -> Result<(), GrantError> {
        let (shared, plugin) = (Arc::clone(&self.0), plugin.clone());
        blocking(move || Ok::<_, DepotError>(shared.grant(&plugin, grant))).await?
    }

    /// Takes back every grant that `permission` covers, at once, and says which they were. On disk when this returns;
    /// after a failure it can be repeated.
    pub(crate) async fn revoke(
        &self,
        plugin: &PluginId,
        permission: &Permission,
    ) -> Result<Vec<Permission>, DepotError> {
        let (shared, plugin, permission) = (Arc::clone(&self.0), plugin.clone(), permission.clone());
        blocking(move || shared.revoke(&plugin, &permission)).await
    }

    /// Takes out every grant whose time is over, when it is, for as long as it is polled. Never returns. None of them counts until
    /// then either.
    pub(crate) async fn expire_grants(&self) {
        let mut changes = self.0.changes.subscribe();
        loop {
            let shared = Arc::clone(&self.0);
            let next = blocking(move || Ok::<_, DepotError>(shared.expire())).await.ok().flatten();
            let left = next.map_or(LOOK_EVERY, |next| Timestamp::now().duration_until(next).unsigned_abs());
            // The clock may be set meanwhile.
            let _ = tokio::time::timeout(left.min(LOOK_EVERY), changes.changed()).await;
        }
    }

    /// Forgets all of a plugin that is off the record and serves no longer.
    pub(crate) async fn forget(&self, plugin: &PluginId) -> Result<(), DepotError> {
        let (shared, plugin) = (Arc::clone(&self.0), plugin.clone());
        blocking(move || shared.forget(&plugin)).await
    }

    /// Takes out a grant of a single time; false where it is gone already. On disk when this returns.
    async fn use_up(&self, plugin: &PluginId, tree: &Digest, access: &Permission) -> Result<bool, DepotError> {
        let (shared, plugin, tree, access) = (Arc::clone(&self.0), plugin.clone(), *tree, access.clone());
        blocking(move || shared.use_up(&plugin, &tree, &access)).await
    }

    /// Remembers what a plugin that is on record was denied. There is room for so much of each.
    pub(crate) fn note_denied(&self, asker: Asker<'_>, access: &Permission) {
        let (plugin, access) = (asker.plugin, &self.wish(asker, access));
        let mut book = self.0.book();
        let denied = book.denied.entry(plugin.clone()).or_default();
        let now = Timestamp::now();
        let is_full = denied.len() >= DENIED_KEPT_MAX;
        match denied.get_mut(access) {
            Some(tried) => *tried = Tried { times: tried.times + 1, last_at: now },
            None => {
                if is_full {
                    let oldest = denied.iter().min_by_key(|(_, tried)| tried.last_at).map(|(oldest, _)| oldest.clone());
                    oldest.and_then(|oldest| denied.remove(&oldest));
                }
                denied.insert(access.clone(), Tried { times: 1, last_at: now });
            }
        }
    }
}

impl Shared {
    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl mortise_plugin::Authority for Authority {
    fn judge(&self, asker: Asker<'_>, access: &Permission) -> Result<Leave, Denied> {
        if !access.is_concrete() {
            return Err(Denied { cure: "no name is written so".to_owned() });
        }
        match self.holds(asker, access) {
            Some(By::Policy | By::Grant) => Ok(Leave::Lasting),
            Some(By::GrantOnce) => Ok(Leave::Once),
            None => Err(Denied { cure: self.cure(asker, access) }),
        }
    }

    async fn permit(&self, asker: Asker<'_>, access: &Permission) -> Result<(), Denied> {
        if !access.is_concrete() {
            // A pattern in place of a name, above all: it would be remembered as a wish for all that it matches.
            return self.judge(asker, access).map(drop);
        }
        match self.holds(asker, access) {
            Some(By::Policy | By::Grant) => return Ok(()),
            Some(By::GrantOnce) => match self.use_up(asker.plugin, asker.tree, access).await {
                Ok(true) => return Ok(()),
                // Somebody else used it up, or took it back, in between.
                Ok(false) => {}
                Err(error) => {
                    warn!(plugin = %asker.plugin, error = chain(&error), "failed to use up a grant");
                    return Err(Denied { cure: "its grant could not be used up; the host's log says why".to_owned() });
                }
            },
            None => {}
        }
        self.note_denied(asker, access);
        Err(Denied { cure: self.cure(asker, access) })
    }

    fn note_denied(&self, asker: Asker<'_>, access: &Permission) {
        Self::note_denied(self, asker, access);
    }

    fn leaves_something(&self, asker: Asker<'_>, access: &Permission) -> bool {
        let policy = self.0.policy.load();
        let asks = asker.wanted.iter().any(|wanted| wanted.meets(access));
        if asks && policy.grants_something(subject(asker), access) {
            return true;
        }
        let now = Timestamp::now();
        let book = self.0.book();
        book.grants.get(asker.plugin).into_iter().flatten().any(|grant| {
            applies(grant, asker.tree, now)
                && grant.permission.meets(access)
                && [&grant.permission, access].into_iter().all(|access| policy.bears_something(subject(asker), access))
        })
    }

    fn lets_emit(&self, asker: Asker<'_>, event: &EventName) -> bool {
        self.0.policy.load().lets_emit(subject(asker), event.as_str())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl Authority {
    /// What would be granted to a plugin that tried `access`.
    fn wish(&self, asker: Asker<'_>, access: &Permission) -> Permission {
        let wish = access.as_wish();
        if self.may_bear(asker, &wish) {
            return wish;
        }
        self.0.policy.load().bound_of(subject(asker), access).unwrap_or(wish)
    }

    /// What would let a plugin do `access`.
    fn cure(&self, asker: Asker<'_>, access: &Permission) -> String {
        let permission = &self.wish(asker, access);
        if self.may_bear(asker, permission) {
            format!("`{}` would let it", grant_command(asker.plugin, permission))
        } else {
            format!("the host's policy does not let `{permission}` be granted to it")
        }
    }
}

/// What an operator types to grant it. A shell would read a bare `*` or blank.
pub(crate) fn grant_command(plugin: &PluginId, permission: &Permission) -> String {
    let text = permission.to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/,".contains(c);
    let text = if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) };
    format!("mortise deploy grant {plugin} {text}")
}

/// What a policy lets a plugin use.
pub(crate) fn limits_by(policy: &Policy, asker: Asker<'_>, manifest: &Manifest) -> Result<Limits, NotAdmitted> {
    let ceilings = policy.ceilings(subject(asker), manifest.runtime);
    manifest.limits_within(&ceilings).map_err(|error| NotAdmitted::Limit { id: asker.plugin.clone(), error })
}

pub(crate) fn subject<'a>(asker: Asker<'a>) -> Subject<'a> {
    Subject { id: asker.plugin, tree: asker.tree, provenance: asker.provenance }
}

/// Whether a grant lets a plugin with these files do all of `permission`.
fn covers(grant: &GrantRecord, tree: &Digest, permission: &Permission, now: Timestamp) -> bool {
    applies(grant, tree, now) && grant.permission.covers(permission)
}

/// Whether a grant counts now for a plugin with these files.
fn applies(grant: &GrantRecord, tree: &Digest, now: Timestamp) -> bool {
    is_alive(grant, now) && grant.tree.is_none_or(|pinned| pinned == *tree)
}

/// One that ends has ended, too, on a clock that was set back to before it began.
fn is_alive(grant: &GrantRecord, now: Timestamp) -> bool {
    grant.expires_at.is_none_or(|expires_at| grant.granted_at <= now && now < expires_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_delivery::Staging;
    use mortise_model::{Digest, Permissions, Provenance};
    use mortise_plugin::Authority as _;
    use mortise_store::{Desired, PluginRecord};
    use std::time::Duration;

    struct Fixture {
        folder: tempfile::TempDir,
        plugin: PluginId,
        tree: Digest,
        provenance: Provenance,
        wanted: Permissions,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self {
                folder,
                plugin: PluginId::new("p").unwrap(),
                tree: Digest::of(b"files"),
                provenance: Provenance::default(),
                wanted: Permissions::default(),
            }
        }

        fn open(&self) -> Authority {
            let capabilities = self.folder.path().join("capabilities");
            std::fs::create_dir_all(&capabilities).unwrap();
            let staging = Staging::open(self.folder.path()).unwrap();
            let (depot, _) = Depot::open(self.folder.path(), capabilities, staging, 1).unwrap();
            let record = PluginRecord::new(Desired::Loaded);
            depot.store().write(|tx| tx.put_plugin(&self.plugin, &record)).unwrap();
            Authority::open(Policy::default(), depot).unwrap()
        }

        fn asker(&self) -> Asker<'_> {
            Asker { plugin: &self.plugin, tree: &self.tree, provenance: &self.provenance, wanted: &self.wanted }
        }
    }

    fn discover(once: bool, lasts: Option<Duration>) -> GrantRecord {
        let now = Timestamp::now();
        let expires_at = lasts.map(|span| now.checked_add(span).unwrap());
        GrantRecord { permission: Permission::MeshDiscover, tree: None, granted_at: now, expires_at, once }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_is_granted_once_is_had_once_whoever_is_quicker() {
        let fixture = Arc::new(Fixture::new());
        let authority = fixture.open();
        authority.grant(&fixture.plugin, discover(true, None)).await.unwrap();
        let tasks = tokio_util::task::TaskTracker::new();
        let tries = (0..20).map(|_| {
            let (fixture, authority) = (Arc::clone(&fixture), authority.clone());
            tasks.spawn(async move { authority.permit(fixture.asker(), &Permission::MeshDiscover).await.is_ok() })
        });
        let mut had = 0;
        for tried in tries.collect::<Vec<_>>() {
            had += usize::from(tried.await.unwrap());
        }
        assert_eq!(had, 1);
        assert_eq!(authority.denied(&fixture.plugin)[&Permission::MeshDiscover].times, 19);
        drop(authority);
        assert!(fixture.open().grants(&fixture.plugin).is_empty(), "on disk, too");
    }

    #[tokio::test]
    async fn what_lasts_longer_is_not_replaced_by_what_lasts_less() {
        let fixture = Fixture::new();
        let authority = fixture.open();
        let hour = Some(Duration::from_secs(3600));
        for (grant, expected) in [
            (discover(true, None), 1),
            (discover(false, hour), 2),
            (discover(false, hour), 2),
            (discover(false, None), 1),
        ] {
            authority.grant(&fixture.plugin, grant).await.unwrap();
            assert_eq!(authority.grants(&fixture.plugin).len(), expected);
        }
        authority.grant(&fixture.plugin, discover(true, None)).await.unwrap();
        authority.permit(fixture.asker(), &Permission::MeshDiscover).await.unwrap();
        assert_eq!(authority.grants(&fixture.plugin).len(), 2, "the single time was not needed");
        let revoked = authority.revoke(&fixture.plugin, &Permission::MeshDiscover).await.unwrap();
        assert_eq!(revoked.len(), 2);
        assert!(authority.revoke(&fixture.plugin, &Permission::MeshDiscover).await.unwrap().is_empty());
        authority.permit(fixture.asker(), &Permission::MeshDiscover).await.unwrap_err();
    }

    #[tokio::test]
    async fn so_many_grants_and_no_more() {
        let fixture = Fixture::new();
        let authority = fixture.open();
        let numbered = |number: usize| {
            let permission = format!("secret:s{number}").parse().unwrap();
            GrantRecord { permission, ..discover(false, None) }
        };
        for number in 0..GRANTS_MAX {
            authority.grant(&fixture.plugin, numbered(number)).await.unwrap();
        }
        let error = authority.grant(&fixture.plugin, numbered(GRANTS_MAX)).await.unwrap_err();
        assert_eq!(error.to_string(), "a plugin may have 256 grants");
        authority.grant(&fixture.plugin, numbered(0)).await.unwrap();
        assert_eq!(authority.grants(&fixture.plugin).len(), GRANTS_MAX);
    }

    #[tokio::test]
    async fn what_is_off_the_record_is_granted_nothing_and_forgotten() {
        let fixture = Fixture::new();
        let authority = fixture.open();
        authority.grant(&fixture.plugin, discover(false, None)).await.unwrap();
        authority.forget(&fixture.plugin).await.unwrap();
        assert!(authority.grants(&fixture.plugin).is_empty());
        let other = PluginId::new("other").unwrap();
        let error = authority.grant(&other, discover(false, None)).await.unwrap_err();
        assert!(matches!(error, GrantError::NotInstalled));
        drop(authority);
        assert!(fixture.open().grants(&fixture.plugin).is_empty());
    }

    #[test]
    fn a_grant_that_ends_has_ended_before_it_began() {
        let hour = Duration::from_secs(3600);
        let mut grant = discover(false, Some(hour));
        let now = Timestamp::now();
        assert!(is_alive(&grant, now));
        assert!(
            !is_alive(&grant, now.checked_sub(hour).unwrap()) && !is_alive(&grant, now.checked_add(2 * hour).unwrap())
        );
        grant.expires_at = None;
        assert!(is_alive(&grant, now.checked_sub(hour).unwrap()));
    }
}
