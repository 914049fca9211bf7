"""What marks methods of a plugin's class as functions, events, routines and handlers of events.

The marks are attributes of the same names as in the reference, and decorators work with and without arguments.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import CoroutineType
from typing import Any

from tenon import schema
from tenon.annotations import parameters

type Labels = Mapping[str, str | Sequence[str]]
"""What a function or an event is found by."""

_caller: ContextVar[str | None] = ContextVar("caller", default=None)


def get_rpc_source_device() -> str | None:
    """The device that says it makes the call at work; none in routines and where one function calls another.

    A claim: nothing vouches for it (wire contract 3.5).
    """
    return _caller.get()


def rpc(name: str | None = None, description: str | None = None, labels: Labels | None = None) -> Callable:
    """Makes a function of a method, which clients call by its name.

    Parameters and their descriptions come from the signature and the docstring.

    Args:
        name: what it is called, if not as the method.
        description: what it does, if not what the docstring's first line says.
        labels: what clients find it by.
    """
    if callable(name):
        return rpc()(name)

    def decorate(method: Callable) -> Callable:
        @functools.wraps(method)
        async def function(self, /, *args: Any, **kwargs: Any) -> Any:
            caller = kwargs.pop("source_device", None)
            token = None if caller is None and _caller.get() is None else _caller.set(caller)
            try:
                returned = method(self, *args, **kwargs)
                return await returned if is_awaitable(returned) else returned
            except TypeError as error:
                _reword(error)
                raise
            finally:
                if token is not None:
                    _caller.reset(token)

        summary, descriptions = schema.read_docstring(method.__doc__)
        return mark(
            function,
            _is_device_function=True,
            _function_name=name or method.__name__,
            _description=description or summary,
            _arg_descriptions=descriptions,
            _labels=labels,
            _original_func=method,
        )

    return decorate


def emit(name: str | None = None, description: str | None = None, labels: Labels | None = None) -> Callable:
    """Makes an event of a method: awaiting it runs the method, and then publishes the arguments that were given.

    Args:
        name: what it is called, if not as the method.
        description: when it happens, if not what the docstring's first line says.
        labels: what clients find it by.
    """
    if callable(name):
        return emit()(name)

    def decorate(method: Callable) -> Callable:
        event_name = name or method.__name__
        names = [parameter.name for parameter in parameters(method) if parameter.name != "self"]

        @functools.wraps(method)
        async def event(self, /, *args: Any, **kwargs: Any) -> Any:
            payload = {**dict(zip(names, args, strict=False)), **kwargs}
            try:
                result = await result_of(method(self, *args, **kwargs))
            except TypeError as error:
                _reword(error)
                raise
            goes_out, payload = await self._dispatch_internal_event(event_name, payload)
            if goes_out:
                await self._emit_event_internal(event_name, payload)
            return result

        summary, descriptions = schema.read_docstring(method.__doc__)
        return mark(
            event,
            _is_device_event=True,
            _event_name=event_name,
            _event_description=description or summary,
            _payload_descriptions=descriptions,
            _labels=labels,
            _original_func=method,
        )

    return decorate


def before_emit(event_name: str, suppress_propagation: bool = False) -> Callable:
    """Lets a method see an event of the same plugin before it goes out. It gets the payload as keyword arguments.

    Answering `False` holds the event back, a dictionary replaces its payload, and `None` leaves it as it is. A failure
    is logged and changes nothing.

    Args:
        event_name: the event.
        suppress_propagation: whether it is held back in any case.
    """

    def decorate(method: Callable) -> Callable:
        return mark(method, _is_interceptor=True, _intercepts=event_name, _suppresses=suppress_propagation)

    return decorate


def periodic(
    interval: float = 1.0, wait_for_completion: bool = True, start_on_connect: bool = True, name: str | None = None
) -> Callable:
    """Makes a routine of a method: the host runs it again and again while the plugin serves, at once first.

    Runs never overlap. A failure is logged, and the next run comes when it is due. As in the reference, routines of
    plugins begin with the plugin and are called as their method, whatever `start_on_connect` and `name` say
    (wire contract 8.4).

    Args:
        interval: seconds from the beginning of one run to that of the next; or at once, if it took longer.
        wait_for_completion: if false, the seconds from the end of one run to the beginning of the next.
    """
    if callable(interval):
        return periodic()(interval)

    def decorate(method: Callable) -> Callable:
        return mark(
            method,
            _is_device_routine=True,
            _routine_interval=interval,
            _routine_wait_for_completion=wait_for_completion,
            _routine_start_on_connect=start_on_connect,
            _routine_name=name or method.__name__,
        )

    return decorate


def on(device_id: str = "*", event_name: str = "*") -> Callable:
    """Lets a method see events of other devices. It gets the device's id, the event's name and the payload.

    It takes the permission `mesh.subscribe`. One event comes after another, and no other before its methods have ended.

    Args:
        device_id: the device; `*` stands for any run of characters.
        event_name: the event, likewise.
    """

    def decorate(method: Callable) -> Callable:
        return mark(method, _is_subscription=True, _subscribes_to=(device_id, event_name))

    return decorate


def build_function_schema(function: Callable) -> dict[str, Any]:
    """The schema of a function's parameters."""
    return schema.of_function(getattr(function, "_original_func", function), getattr(function, "_arg_descriptions", {}))


def build_event_schema(event: Callable) -> dict[str, Any]:
    """The schema of an event's payload."""
    return schema.of_function(getattr(event, "_original_func", event), getattr(event, "_payload_descriptions", {}))


def mark(marked: Callable, **marks: Any) -> Callable:
    """The callable itself, with these attributes."""
    vars(marked).update(marks)
    return marked


async def result_of(returned: Any) -> Any:
    """What a method that may be `async` or not comes to."""
    return await returned if is_awaitable(returned) else returned


def is_awaitable(returned: Any) -> bool:
    """Whether it is to be awaited; mostly it is what an `async` method gives."""
    return type(returned) is CoroutineType or inspect.isawaitable(returned)


def _reword(error: TypeError) -> None:
    """What is wrong with the arguments is told in the words of Python 3.12."""
    text = str(error)
    # No frame below the one that called: it is the call that failed.
    if error.__traceback__.tb_next is None and "unexpected keyword argument" in text:
        error.args = (text.partition(". Did you mean")[0],)
