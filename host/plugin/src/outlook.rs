//! What a plugin would bring, without loading it.

use crate::account::Account;
use crate::authority::Nobody;
use crate::generation::Generation;
use crate::job::Job;
use crate::ownership::Succession;
use crate::registry::{FunctionStatus, Names, Shared};
use crate::runtime::{Health, Instance, Package, PrepareError};
use async_trait::async_trait;
use mortise_model::{Description, Failure};
use std::sync::Arc;
use std::time::Duration;

/// A plugin as it would be were it loaded now.
#[derive(Debug, Clone)]
pub struct Outlook {
    /// What it would bring.
    pub description: Description,
    /// Its functions and the names they would be advertised by.
    pub functions: Vec<FunctionStatus>,
    /// Bare names that would pass to other plugins.
    pub passed: Vec<Succession>,
}

pub(crate) async fn describe(shared: &Shared, package: Package) -> Result<Outlook, PrepareError> {
    let runtime = shared.runtime_for(&package)?;
    // What it does on the way is nobody's account, nobody has granted it anything, and it keeps nothing.
    let account = Arc::new(Account::new(package.id.clone()));
    let services = Arc::new(shared.services_for(&package, Arc::new(Nobody), account));
    let description = runtime.describe(&package, Arc::clone(&services)).await;
    let description = description.map_err(|error| error.after(services.denied_early()))?;
    // Judged like any generation. Number 0 is nobody's.
    let generation = Arc::new(Generation::new(package, 0, services, Arc::new(OnPaper(description))));
    let Names { functions, passed } = shared.check(&generation).await?;
    Ok(Outlook { description: generation.description().clone(), functions, passed })
}

/// An instance that only describes.
struct OnPaper(Description);

#[async_trait]
impl Instance for OnPaper {
    fn description(&self) -> &Description {
        &self.0
    }

    fn submit(&self, job: Job) {
        job.ticket.answer(Err(Failure::retryable("stopped", "the plugin is not loaded")));
    }

    async fn shutdown(&self, _: Duration) {}

    fn health(&self) -> Health {
        Health::default()
    }
}
