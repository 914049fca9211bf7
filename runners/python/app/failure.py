"""What goes wrong in a way that the caller is told, with a code: raised by the host's operations and by plugins."""

#: The codes under which the host says that an operation took too long: its own timeout, the call's, or the turn's.
TIMEOUTS = frozenset({"deadline_exceeded", "timeout"})


def marked(error: BaseException, failure: "Failure") -> BaseException:
    """What a client for HTTP raises in the place of the host's failure, from which the caller is told the code."""
    error.host_failure = failure
    return error


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
