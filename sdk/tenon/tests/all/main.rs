//! The SDK as an author of plugins meets it, on a fake host.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(clippy::too_many_arguments, reason = "a plugin's functions take what their callers may give")]

mod calling;
mod describing;
mod hearing;
mod keeping;
mod logging;
mod waiting;
