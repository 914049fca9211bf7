import functools
import logging

from device_connect_edge.drivers import emit, periodic, rpc
from device_connect_edge.drivers.decorators import build_event_schema, build_function_schema

log = logging.getLogger(__name__)


def logged(function):
    @functools.wraps(function)
    async def wrapper(self, *args, **kwargs):
        self.log.append(function.__name__)
        return await function(self, *args, **kwargs)

    return wrapper


def unwrapped(function):
    async def wrapper(self, **kwargs):
        return {"unwrapped": await function(self, **kwargs)}

    return wrapper


class Base:
    @rpc()
    async def inherited(self, a: int = 1) -> str:
        """From the base."""
        return "base"

    @rpc()
    async def overridden(self, a: int = 1) -> str:
        """From the base."""
        return "base"

    @rpc()
    async def hidden(self) -> str:
        return "base"

    @classmethod
    def made(cls):
        return cls.__name__


class Members(Base):
    """What makes a function."""

    CONSTANT = 1

    def __init__(self, device=None, **options):
        self.log = []
        self.attribute = lambda: None
        log.warning("made with %s", sorted(options))

    @property
    def failing(self):
        raise RuntimeError("a property that fails")

    @property
    def name(self):
        return "members"

    @rpc()
    async def overridden(self, b: str = "x") -> str:
        """From the class."""
        return "class and " + await super().overridden()

    # No longer a function.
    async def hidden(self) -> str:
        return "class"

    @rpc(name="called_otherwise", description="By another name", labels={"direction": "read", "modality": ["rgb", "4k"]})
    async def method_name(self, a: int = 1) -> int:
        return a

    @rpc("positional_name", "Positional description")
    async def positional(self) -> str:
        return "positional"

    @rpc(labels={})
    async def no_labels(self) -> None:
        pass

    @rpc()
    async def _private(self) -> str:
        return "private"

    async def not_a_function(self) -> str:
        return "not a function"

    @rpc()
    @logged
    async def logged_inside(self, a: int, b: str = "x") -> list:
        """Wrapped inside.

        Args:
            a: A number
        """
        return self.log

    @logged
    @rpc()
    async def logged_outside(self, a: int, b: str = "x") -> list:
        """Wrapped outside."""
        return self.log

    @rpc()
    @unwrapped
    async def unwrapped_inside(self, a: int) -> int:
        return a

    @rpc()
    async def other_first_name(this, a: int = 1) -> int:  # noqa: N805
        return a

    @rpc()
    @staticmethod
    async def static_inside(self=None, a: int = 1) -> int:
        return a

    @rpc()
    async def calls_another(self) -> list:
        return [await self.inherited(), await self.method_name(a=5), await self._private()]

    @rpc()
    async def schemas(self) -> list:
        return [build_function_schema(self.logged_inside), build_event_schema(self.noticed)]

    @rpc()
    async def marks(self) -> list:
        function, event = self.method_name, self.noticed
        return [
            function._is_device_function, function._function_name, function._description, function._labels,
            function._arg_descriptions, event._is_device_event, event._event_name, event._event_description,
            self.regular._is_device_routine, self.regular._routine_interval, self.regular._routine_name,
            self.regular._routine_wait_for_completion, self.regular._routine_start_on_connect, function.__name__,
            function.__doc__, type(self).made(),
        ]  # fmt: skip

    @emit()
    async def noticed(self, a: int = 1):
        """It was noticed."""

    @periodic(interval=3600, name="odd")
    async def regular(self):
        pass

    @rpc()
    @emit()
    async def both(self, a: int):
        """A function that is an event."""
        return "emitted"

    alias = method_name

    def start(self):
        self.log.append("started")
