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
from wit_world.imports import host
from wit_world.imports import types as wit


class Calls:
    """The calls under way on one plugin."""

    def __init__(self, loop: Loop, plugin: object) -> None:
        self._loop = loop
        self._plugin = plugin
        self._open: dict[int, asyncio.Task] = {}
        self._cancelled: set[int] = set()

    def begin(self, id: int, kind: wit.CallKind, name: str, parameters: str, context: wit.CallContext):
        """Runs the call up to where it first waits. Its outcome, or none: then it is completed later."""
        task = asyncio.Task(
            self._serve(id, kind, name, parameters, context.caller), loop=self._loop, eager_start=True
        )
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
            return outcome.of_result(await self._dispatch(kind, name, parameters, caller))
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
            case wit.CallKind.FUNCTION:
                return await capability.invoke(self._plugin, name, json.loads(parameters), caller)
            case wit.CallKind.ROUTINE:
                await capability.tick(self._plugin, name)
            case wit.CallKind.EVENT:
                await capability.handle(self._plugin, name, json.loads(parameters), caller)
            case wit.CallKind.START:
                await self._hook("start")
            case wit.CallKind.STOP:
                await self._hook("stop")
            case wit.CallKind.SELF_TEST:
                pass
            case wit.CallKind.MIGRATE:
                hook = getattr(self._plugin, "migrate", None)
                # A function of this name is the callers', as on the reference, which has no such hook.
                if not callable(hook) or capability.is_marked(hook):
                    raise Failure("the plugin has no `migrate`", code="unknown_function")
                versions = json.loads(parameters)
                await self._hook("migrate", versions["from"], versions["to"])
        return None

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
