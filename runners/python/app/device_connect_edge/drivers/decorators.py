"""The reference's decorators: those of `tenon` but for `before_emit` and `on`, which the reference ignores in plugins
(wire contract 8.3, 8.5)."""

from collections.abc import Callable
from contextvars import ContextVar, Token

from device_connect_edge._lacking import lacking
from tenon.decorators import build_event_schema, build_function_schema, emit, get_rpc_source_device, mark, periodic, rpc

__all__ = [
    "before_emit",
    "build_event_schema",
    "build_function_schema",
    "emit",
    "get_rpc_source_device",
    "periodic",
    "reset_call_origin",
    "routine_context",
    "rpc",
    "set_call_origin",
]

_call_origin: ContextVar[str] = ContextVar("call_origin", default="external")


def before_emit(event_name: str, suppress_propagation: bool = False) -> Callable:
    """Marks a method that a driver's events go through. Plugins' events do not: that is `tenon.before_emit`."""

    def decorate(method: Callable) -> Callable:
        return mark(
            method,
            _is_internal_handler=True,
            _internal_event_name=event_name,
            _suppress_propagation=suppress_propagation,
        )

    return decorate


def set_call_origin(origin: str) -> Token[str]:
    """Says on whose behalf what follows runs: `external`, `routine` or `internal`."""
    return _call_origin.set(origin)


def reset_call_origin(token: Token[str]) -> None:
    """Takes back what `set_call_origin` said."""
    _call_origin.reset(token)


class routine_context:
    """What runs in `async with` this runs on behalf of a routine."""

    async def __aenter__(self):
        self._token = set_call_origin("routine")
        return self

    async def __aexit__(self, *_raised) -> bool:
        reset_call_origin(self._token)
        return False


__getattr__ = lacking(__name__, __all__)
