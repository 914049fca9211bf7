//! What can be measured, one file each.

pub(crate) mod awaits;
pub(crate) mod echo;
pub(crate) mod install;
pub(crate) mod noisy;
pub(crate) mod reloads;
pub(crate) mod source;
pub(crate) mod start;
pub(crate) mod status;
