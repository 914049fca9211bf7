//! `mortise deploy`.

use crate::cli::args::DeployArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};

pub(in crate::cli) fn run(_args: &DeployArgs, _printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    Err(CommandError::usage("not built yet"))
}
