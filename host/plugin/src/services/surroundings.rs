//! What a plugin sees of the host's surroundings: variables, secrets, folders.

use super::{NAME_BYTES_SHOWN, Services};
use mortise_model::{Failure, Folder, Json, Permission, VariableName, cut};
use tracing::Level;

impl Services {
    /// One of the host's environment variables, as JSON: a string, or null where it is not set. Cancel safe.
    ///
    /// # Errors
    /// `invalid_name`, or `permission_denied` when the plugin is not granted it.
    pub async fn env(&self, name: &str) -> Result<Json, Failure> {
        let name = variable_name(name)?;
        self.permit_now(&Permission::Env(name.clone()), &format!("read the environment variable `{name}`")).await?;
        Ok(Json::of(&self.backend.env(&name).into()))
    }

    /// One of the operator's secrets, as JSON: a string, or null where there is none of that name. From here on it is marked
    /// wherever the plugin tells it: in its log, its events, its results and failures. Cancel safe.
    ///
    /// # Errors
    /// `invalid_name`, `permission_denied` when the plugin is not granted it, or why it cannot be read.
    pub async fn secret(&self, name: &str) -> Result<Json, Failure> {
        let name = variable_name(name)?;
        self.permit_now(&Permission::Secret(name.clone()), &format!("read the secret `{name}`")).await?;
        let secret = self.backend.secret(&name).await?;
        if let Some(secret) = &secret {
            self.account.redaction.told(&name, secret);
        }
        Ok(Json::of(&secret.into()))
    }

    /// The environment of a fresh instance: what the manifest asks for, the plugin is granted for more than a single time,
    /// and is set.
    #[must_use]
    pub fn environment(&self) -> Vec<(VariableName, String)> {
        let granted = self.manifest.permissions.iter().filter(|wanted| self.has_lasting(wanted));
        let set = granted.filter_map(|wanted| match wanted {
            Permission::Env(name) => self.backend.env(name).map(|value| (name.clone(), value)),
            _ => None,
        });
        set.collect()
    }

    /// Whether the manifest asks for folders.
    #[must_use]
    pub fn wants_folders(&self) -> bool {
        !self.manifest.folders.is_empty()
    }

    /// The folders that the manifest asks for: those that the plugin is granted for more than a single time, which a fresh
    /// instance sees, and the others. Blocks for a look.
    ///
    /// # Errors
    /// `folder` for one that is granted and is not there, that links lead to, or that holds what is the host's own.
    pub fn folders(&self) -> Result<(Vec<&Folder>, Vec<&Folder>), Failure> {
        let folders = self.manifest.folders.iter();
        let (granted, others): (Vec<_>, Vec<_>) =
            folders.partition(|folder| self.has_lasting(&Permission::Files(folder.access.clone())));
        granted.iter().try_for_each(|folder| self.backend.check_folder(&folder.access))?;
        Ok((granted, others))
    }

    /// Looks at a folder that is granted. Blocks.
    ///
    /// # Errors
    /// As [`Self::folders`].
    pub fn check_folder(&self, folder: &Folder) -> Result<(), Failure> {
        self.backend.check_folder(&folder.access)
    }

    /// Has it remembered as a wish that a folder was looked into which the plugin is not granted. Cancel safe.
    ///
    /// # Errors
    /// `permission_denied`, with the cure.
    pub async fn permit_folder(&self, folder: &Folder) -> Result<(), Failure> {
        let what = format!("see the folder `{}`", cut(&folder.seen_as, NAME_BYTES_SHOWN));
        self.permit_now(&Permission::Files(folder.access.clone()), &what).await
    }

    /// Whether it has all of these for more than a single time, still.
    #[must_use]
    pub fn has_still(&self, held: &[Permission]) -> bool {
        held.iter().all(|access| self.has_lasting(access))
    }

    /// Counts that an instance ended because something it had was taken back, and tells so in the plugin's log.
    pub fn count_withdrawn(&self) {
        self.account.count_refusal("withdrawn");
        self.log(Level::INFO, "host", "an instance ended: a folder or a variable that it had was taken back");
    }
}

fn variable_name(name: &str) -> Result<VariableName, Failure> {
    VariableName::new(name)
        .map_err(|reason| Failure::new("invalid_name", format!("`{}`: {reason}", cut(name, NAME_BYTES_SHOWN))))
}
