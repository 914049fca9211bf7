"""What goes wrong in a way that the caller is told, with a code: raised by the host's operations and by plugins."""

#: The codes under which the host says that an operation took too long: its own timeout, the call's, or the turn's.
TIMEOUTS = frozenset({"deadline_exceeded", "timeout"})


class Failure(Exception):
    """A failure with a stable `code` (snake case) and whether the same call may succeed later.

    Plugins know it as `tenon.Failure`. Every other exception becomes a failure of code `error` with its text.
    """

    def __init__(self, message: str, code: str = "error", retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retryable = retryable

    def __str__(self) -> str:
        return self.message
