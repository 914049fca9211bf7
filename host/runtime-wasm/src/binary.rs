//! What the compiler makes of WebAssembly: of components as a rule, and of an interpreter that is a core module.

use std::fmt;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Which of the two an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Component,
    Module,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::Module => "core module",
        })
    }
}

/// Compiled code.
pub(crate) enum Binary {
    Component(Component),
    Module(Module),
}

impl Binary {
    /// Compiles, on the thread that asks and on those of the pool that it belongs to.
    pub(crate) fn compile(engine: &Engine, form: Form, bytes: &[u8]) -> wasmtime::Result<Self> {
        match form {
            Form::Component => Component::from_binary(engine, bytes).map(Self::Component),
            Form::Module => Module::from_binary(engine, bytes).map(Self::Module),
        }
    }

    pub(crate) fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Self::Component(component) => component.serialize(),
            Self::Module(module) => module.serialize(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Component(component) => component.engine(),
            Self::Module(module) => module.engine(),
        }
    }
}
