"""The calls that the host makes: begun at once, answered at once where they need not wait, and else later."""

import asyncio
import inspect
import json

import capability
import outcome
from componentize_py_types import Err, Ok
from failure import Failure
from loop import Loop
from operations import current_call
from tenon.decorators import is_awaitable
from wit_world.imports import host
from wit_world.imports import types as wit
from wit_world.imports.types import CallKind

_FUNCTION = CallKind.FUNCTION

#: What `json.loads` comes to, where nothing stands before the value.
_scan = json.JSONDecoder().scan_once


def _parsed(parameters: str) -> dict:
    return _scan(parameters, 0)[0] if parameters[:1] == "{" else json.loads(parameters)


class Calls:
    """The calls under way on one plugin."""

    def __init__(self, loop: Loop, plugin: object) -> None:
        self._loop = loop
        self._plugin = plugin
        self._open: dict[int, asyncio.Task] = {}
        self._cancelled: set[int] = set()

    def begin(self, id: int, kind: CallKind, name: str, parameters: str, caller: str | None):
        """Runs the call up to where it first waits. Its outcome, or none: then it is completed later."""
        task = asyncio.Task(self._serve(id, kind, name, parameters, caller), loop=self._loop, eager_start=True)
        if not task.done():
            self._open[id] = task
            task.add_done_callback(lambda task: self._complete(id, task))
            return None
        if self._loop.is_settled():
            return _outcome(task)
        # It left something behind that the loop has to run, and the host turns it only for calls that are open.
        host.complete(id, _outcome(task))
        return None

    def cancel(self, id: int) -> None:
        """Its caller has been answered: the call is interrupted where it waits, and its outcome dropped."""
        task = self._open.pop(id, None)
        if task is not None:
            self._cancelled.add(id)
            task.cancel()

    def _complete(self, id: int, task: asyncio.Task) -> None:
        self._cancelled.discard(id)
        if self._open.pop(id, None) is not None:
            host.complete(id, _outcome(task))

    async def _serve(self, id, kind, name, parameters, caller) -> Ok[str] | Err[wit.Failure]:
        """The outcome, whatever the plugin does: `sys.exit` and cancellation are outcomes as well."""
        current_call.set(id)
        try:
            if kind is _FUNCTION:
                result = capability.enter(self._plugin, name, _parsed(parameters), caller)
                if is_awaitable(result):
                    result = await result
            else:
                result = await self._dispatch(kind, name, parameters, caller)
            return outcome.of_result(result)
        except BaseException as error:
            if id in self._cancelled:
                return outcome.refusal("cancelled", "the caller has been answered")
            try:
                return outcome.of_exception(error, f"{kind.name.lower()} `{name}`")
            except BaseException as second:
                # The plugin's exception is of a class that cannot even be looked at.
                return _unknown(second)

    async def _dispatch(self, kind, name, parameters, caller):
        match kind:
            case CallKind.ROUTINE:
                await capability.tick(self._plugin, name)
            case CallKind.EVENT:
                await capability.handle(self._plugin, name, json.loads(parameters), caller)
            case CallKind.START:
                await self._hook("start")
            case CallKind.STOP:
                await self._hook("stop")
            case CallKind.SELF_TEST:
                pass
            case CallKind.MIGRATE:
                hook = getattr(self._plugin, "migrate", None)
                # A function of this name is the callers', as on the reference, which has no such hook.
                if not callable(hook) or capability.is_marked(hook):
                    raise Failure("the plugin has no `migrate`", code="unknown_function")
                versions = json.loads(parameters)
                await self._hook("migrate", versions["from"], versions["to"])

    async def _hook(self, name: str, *arguments) -> None:
        hook = getattr(self._plugin, name, None)
        if callable(hook):
            done = hook(*arguments)
            if inspect.isawaitable(done):
                await done


def _outcome(task: asyncio.Task) -> Ok[str] | Err[wit.Failure]:
    """How the call ended, which is without an outcome where the plugin cancelled the task at work and then returned."""
    try:
        return task.result()
    except BaseException as error:
        return _unknown(error)


def _unknown(error: BaseException) -> Err[wit.Failure]:
    return outcome.refusal("error", f"the call ended without an outcome: {type(error).__name__}")
