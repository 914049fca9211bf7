"""What may cross to the host. A value of another type, text with a lone surrogate, or a crossing over the contract's 16 MiB
would end the instance with all its calls: what crosses goes through here first.
"""

from typing import Any

from failure import Failure

#: The most bytes of a result, payload, body or kept value: half of what a crossing may carry, so that what goes with it
#: fits too.
BYTES_MAX = 8 << 20

#: The most bytes of a name, an address or a header.
TEXT_MAX = 1 << 20

#: The most characters of an exception's text, a description or a line of the log, which the host cuts further.
WORDS_MAX = 64 << 10


def text(value: Any, what: str) -> str:
    """The value, which has to be text. Raises: TypeError; ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be str, not {type(value).__name__}")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} has a lone surrogate, which is no text: {ascii(value)[:200]}") from None
    if len(encoded) > TEXT_MAX:
        raise ValueError(f"{what} has {len(encoded)} bytes, more than {TEXT_MAX}")
    return encoded.decode()


def octets(value: Any, what: str) -> bytes:
    """The value, which has to be bytes of some kind. Raises: TypeError."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{what} must be bytes, not {type(value).__name__}")
    return bytes(value)


def number(value: Any, what: str) -> int:
    """The value, which has to be a count of 32 bits. Raises: TypeError; ValueError."""
    if not isinstance(value, int):
        raise TypeError(f"{what} must be int, not {type(value).__name__}")
    if not 0 <= value < 1 << 32:
        raise ValueError(f"{what} must be from 0 to {(1 << 32) - 1}")
    return int(value)


def within[T: (str, bytes)](value: T, what: str, code: str) -> T:
    """The value itself, JSON or bytes, unless it is too large to cross. Raises: Failure, of this code."""
    if len(value) > BYTES_MAX:
        raise Failure(f"{what} has {len(value)} bytes, more than {BYTES_MAX}", code)
    return value


def words(value: Any) -> str:
    """`str(value)` as text that can be sent, whatever its class makes of that, and cut."""
    try:
        # An exact `str`, whatever class of text this is.
        shown = "".join((str(value),))[:WORDS_MAX]
    except BaseException:
        shown = type(value).__name__
    return shown.encode("utf-8", "backslashreplace").decode()
