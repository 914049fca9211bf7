//! `mortise validate`.

use crate::cli::args::ValidateArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};

pub(in crate::cli) fn run(_args: &ValidateArgs, _printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    Err(CommandError::usage("not built yet"))
}
