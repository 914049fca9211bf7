//! `mortise pack`.

use crate::cli::args::PackArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};

pub(in crate::cli) fn run(_args: &PackArgs, _printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    Err(CommandError::usage("not built yet"))
}
