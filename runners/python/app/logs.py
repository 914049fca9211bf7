"""Everything a plugin says, in its log: `logging`, warnings, and what it prints."""

import logging
import sys

import bridge


class HostHandler(logging.Handler):
    """Writes records to the plugin's log, each under the name of its logger."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            bridge.log(_level(record.levelno), record.name, self.format(record))
        except Exception:
            self.handleError(record)


def install() -> None:
    """From `INFO` on, as the reference; a plugin may set its own loggers to more or less."""
    root = logging.getLogger()
    root.handlers[:] = [HostHandler()]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # The host cuts what is printed into lines, and sees it only once it is written out.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _level(number: int) -> str:
    for least, name in ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info")):
        if number >= least:
            return name
    return "debug"
