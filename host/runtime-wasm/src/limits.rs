//! What one instance may allocate, and why it was refused more.

use mortise_model::{ByteSize, Limits};
use mortise_plugin::Usage;
use std::sync::Arc;
use wasmtime::ResourceLimiter;

/// Core instances in one component: a Rust plugin has 3, a Python plugin 14.
const INSTANCES_MAX: usize = 200;

/// Linear memories in one component. Each reserves 4 GiB of address space, so their number is limited as well as
/// their size.
const MEMORIES_MAX: usize = 32;

/// Tables in one component; their elements are limited together.
const TABLES_MAX: usize = 200;

/// Counts memory and table elements over one store and refuses what is over the limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_max: ByteSize,
    memory_bytes: usize,
    tables_max: usize,
    table_elements: usize,
    /// What the last growth added, to be taken back should it fail after it was allowed.
    memory_last: usize,
    tables_last: usize,
    refusal: Option<Refusal>,
    usage: Arc<Usage>,
}

/// A limit that stopped a growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Memory,
    Tables,
}

impl Limiter {
    /// Of a fresh instance, which has nothing yet.
    pub(crate) fn new(limits: &Limits, usage: Arc<Usage>) -> Self {
        Self {
            memory_max: limits.memory,
            memory_bytes: 0,
            tables_max: usize::try_from(limits.tables).unwrap_or(usize::MAX),
            table_elements: 0,
            memory_last: 0,
            tables_last: 0,
            refusal: None,
            usage,
        }
    }

    /// Forgets an earlier refusal, so that a later trap is not blamed on it.
    pub(crate) fn forget_refusal(&mut self) {
        self.refusal = None;
    }

    /// The limit that was reached since [`Limiter::forget_refusal`], as text.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal.map(|refusal| match refusal {
            Refusal::Memory => format!("memory limit of {} reached", self.memory_max),
            Refusal::Tables => format!("table limit of {} elements reached", self.tables_max),
        })
    }
}

impl Drop for Limiter {
    /// The instance has gone, and its memories with it.
    fn drop(&mut self) {
        self.usage.shrank(self.memory_bytes);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.memory_bytes.saturating_add(growth);
        if total as u64 > self.memory_max.0 {
            self.refusal = Some(Refusal::Memory);
            return Ok(false);
        }
        (self.memory_bytes, self.memory_last) = (total, growth);
        self.usage.grew(growth);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let growth = std::mem::take(&mut self.memory_last);
        self.memory_bytes = self.memory_bytes.saturating_sub(growth);
        self.usage.shrank(growth);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.table_elements.saturating_add(growth);
        if total > self.tables_max {
            self.refusal = Some(Refusal::Tables);
            return Ok(false);
        }
        (self.table_elements, self.tables_last) = (total, growth);
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements = self.table_elements.saturating_sub(std::mem::take(&mut self.tables_last));
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::Store;
    use wasmtime::component::{Component, Linker};

    #[test]
    fn all_memories_of_an_instance_share_one_limit_and_the_refusal_is_remembered() {
        let mut limiter = Limiter::new(&Limits { memory: ByteSize::kib(256), ..Limits::default() }, Arc::default());
        assert!(limiter.memory_growing(0, 128 << 10, None).unwrap());
        assert!(limiter.memory_growing(0, 128 << 10, None).unwrap());
        assert_eq!(limiter.refusal(), None);
        assert!(!limiter.memory_growing(128 << 10, 192 << 10, None).unwrap());
        assert_eq!(limiter.refusal().as_deref(), Some("memory limit of 256KiB reached"));
        limiter.forget_refusal();
        assert_eq!(limiter.refusal(), None);
    }

    #[test]
    fn a_growth_that_fails_after_all_is_given_back() {
        let mut limiter = Limiter::new(&Limits { memory: ByteSize::kib(128), ..Limits::default() }, Arc::default());
        assert!(limiter.memory_growing(0, 128 << 10, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory left")).unwrap();
        assert!(limiter.memory_growing(0, 128 << 10, None).unwrap());
    }

    #[test]
    fn table_elements_are_limited() {
        let mut limiter = Limiter::new(&Limits { tables: 10, ..Limits::default() }, Arc::default());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!limiter.table_growing(10, 11, None).unwrap());
        assert_eq!(limiter.refusal().as_deref(), Some("table limit of 10 elements reached"));
    }

    /// Instantiates a component of `count` core instances, each with what `fields` gives it.
    fn instantiated(fields: &str, count: usize) -> Result<(), String> {
        let engine = wasmtime::Engine::default();
        let instances = "(core instance (instantiate $m))".repeat(count);
        let text = format!("(component (core module $m {fields}) {instances})");
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let mut store = Store::new(&engine, Limiter::new(&Limits::default(), Arc::default()));
        store.limiter(|limiter| limiter);
        let instance = Linker::new(&engine).instantiate(&mut store, &component);
        instance.map(drop).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_component_has_no_more_instances_memories_and_tables_than_it_may() {
        for (fields, each, most, name) in [
            ("", 1, INSTANCES_MAX, "instance"),
            ("(memory 0)", 1, MEMORIES_MAX, "memory"),
            ("(table 0 funcref) (table 0 funcref)", 2, TABLES_MAX, "table"),
        ] {
            assert_eq!(instantiated(fields, most / each), Ok(()), "{name}");
            let refused = instantiated(fields, most / each + 1).unwrap_err();
            assert!(refused.contains(name) && refused.contains("limit"), "{refused}");
        }
    }
}
