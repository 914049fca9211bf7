//! `mortise new`.

use crate::cli::args::NewArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};

pub(in crate::cli) fn run(_args: &NewArgs, _printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    Err(CommandError::usage("not built yet"))
}
