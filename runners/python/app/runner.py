"""The runner's entry: the exports of `wit/` for a plugin in Python."""

import asyncio
import os

import capability
import crossing
import environment
import loading
import logs
import operations
import outcome
import records
import snapshot
from calls import Calls
from componentize_py_types import Err
from device import Device
from failure import Failure
from loop import Loop
from wit_world import exports
from wit_world.imports import types as wit

_own = snapshot.prepare(os.path.dirname(__file__))
_loop = Loop()
_calls: Calls | None = None

# What each call is handed over by, in place of an `Enum` that is looked up and a dataclass that is filled: the bindings
# take these names once this module is there. Of the context, the caller is all that is in use.
wit.CallKind = tuple(wit.CallKind).__getitem__
wit.CallContext = lambda caller, trace_parent, trace_state, remaining_ns: caller


class Guest(exports.Guest):
    """The exports, for the one plugin of the instance."""

    def describe(self) -> wit.Description:
        global _calls
        snapshot.hide(_own)
        logs.install()
        environment.install()
        loading.reseed()
        _loop.install()
        asyncio.set_event_loop(_loop)
        try:
            plugin = loading.load(Device())
            brought = records.description(capability.describe(plugin))
        except Failure as failure:
            code, message = crossing.words(failure.code), crossing.words(failure)
            raise Err(wit.Failure(code, message, bool(failure.retryable))) from None
        except BaseException as error:
            outcome.log_traceback(error, "the plugin could not be described")
            raise Err(wit.Failure("plugin_source", f"{type(error).__name__}: {crossing.words(error)}", False)) from None
        _calls = Calls(_loop, plugin)
        return brought

    def call(self, id, kind, name, parameters, context):
        return _calls.begin(id, kind, name, parameters, context)

    def run(self) -> int | None:
        return _loop.turn()

    def deliver(self, id, outcome) -> None:
        operations.deliver(id, outcome)

    def cancel(self, id) -> None:
        _calls.cancel(id)
