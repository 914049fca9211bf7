//! The few functions of WASI 0.1 that the module imports: clocks and random numbers. It has no files, and what the interpreter
//! writes about itself goes nowhere.

use crate::bindings::mortise::plugin::host::Host as _;
use crate::view::State;
use rand::Rng as _;
use wasmtime::{Caller, Error, Linker, Memory, Result};

const MODULE: &str = "wasi_snapshot_preview1";

/// The clock of the day; every other is taken for the one that never goes back.
const REALTIME: i32 = 0;

const SUCCESS: i32 = 0;

/// No such file.
const BADF: i32 = 8;

pub(super) fn add_to(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(MODULE, "clock_time_get", |mut caller: Caller<'_, State>, clock: i32, _: i64, to: u32| {
        let host = &mut caller.data_mut().host;
        let now = if clock == REALTIME { host.wall_time_ns() } else { host.monotonic_time_ns() };
        memory(&mut caller)?.write(&mut caller, usize::try_from(to)?, &now.to_le_bytes())?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "random_get", |mut caller: Caller<'_, State>, at: u32, length: u32| {
        let memory = memory(&mut caller)?.data_mut(&mut caller);
        let at = usize::try_from(at)?;
        let end = at.saturating_add(usize::try_from(length)?);
        let bytes =
            memory.get_mut(at..end).ok_or_else(|| Error::msg("random numbers are asked for beyond the memory"))?;
        rand::rng().fill_bytes(bytes);
        Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "fd_close", |_: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |_: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_seek", |_: i32, _: i64, _: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_write", |_: i32, _: i32, _: i32, _: i32| BADF)?;
    Ok(())
}

fn memory(caller: &mut Caller<'_, State>) -> Result<Memory> {
    let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory);
    memory.ok_or_else(|| Error::msg("the module has no memory"))
}
