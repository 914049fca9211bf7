import asyncio
import errno
import sys

from device_connect_edge.drivers import rpc
from device_connect_edge.errors import DeviceError, FunctionInvocationError


class Custom(Exception):
    def __init__(self, code):
        super().__init__("the text", code)
        self.code = code


class Silent(Exception):
    def __str__(self):
        return ""


class Odd(Exception):
    def __init__(self, reason):
        self.reason = reason

    def __str__(self):
        return f"odd: {self.reason}"


class Unsendable:
    pass


class Failures:
    def __init__(self, device=None):
        pass

    @rpc()
    async def value_error(self):
        raise ValueError("wrong value")

    @rpc()
    async def empty(self):
        raise RuntimeError

    @rpc()
    async def empty_text(self):
        raise RuntimeError("")

    @rpc()
    async def silent(self):
        raise Silent("never seen")

    @rpc()
    async def custom(self):
        raise Custom(7)

    @rpc()
    async def odd(self):
        raise Odd("because")

    @rpc()
    async def key_error(self):
        return {}["missing"]

    @rpc()
    async def index_error(self):
        return [][1]

    @rpc()
    async def attribute_error(self):
        return self.nowhere

    @rpc()
    async def zero_division(self):
        return 1 / 0

    @rpc()
    async def name_error(self):
        return undefined_name  # noqa: F821

    @rpc()
    async def import_error(self):
        import no_such_module  # noqa: F401

    @rpc()
    async def os_error(self):
        try:
            open("/no/such/file")
        except OSError as error:
            # Its number is another on WASI.
            raise OSError(error.errno == errno.ENOENT, error.strerror, error.filename) from error

    @rpc()
    async def assertion(self):
        assert 1 == 2, "one is not two"

    @rpc()
    async def bare_assertion(self):
        assert 1 == 2

    @rpc()
    async def chained(self):
        try:
            {}["x"]
        except KeyError as error:
            raise ValueError("outer") from error

    @rpc()
    async def stop_iteration(self):
        return next(iter([]))

    @rpc()
    async def timeout_error(self):
        raise TimeoutError

    @rpc()
    async def not_implemented(self):
        raise NotImplementedError

    @rpc()
    async def unicode_error(self):
        return b"\xff".decode()

    @rpc()
    async def device_error(self):
        raise DeviceError("the motor is stuck")

    @rpc()
    async def invocation_error(self):
        raise FunctionInvocationError("failed", function_name="x", original_error=ValueError())

    @rpc()
    async def several_lines(self):
        raise ValueError("one\ntwo\tthree \"four\" ü")

    @rpc()
    async def group(self):
        raise ExceptionGroup("several", [ValueError("a"), TypeError("b")])

    @rpc()
    async def recursion(self):
        def deeper():
            return deeper()

        return deeper()

    @rpc()
    async def unsendable(self):
        return Unsendable()

    @rpc()
    async def unsendable_set(self):
        return {"x": {1, 2}}

    @rpc()
    async def unsendable_bytes(self):
        return b"x"

    @rpc()
    async def unsendable_key(self):
        return {(1, 2): 3}

    @rpc()
    async def circular(self):
        items = []
        items.append(items)
        return items

    @rpc()
    async def error_inside_result(self):
        return {"error": "not a failure", "code": 1}

    @rpc()
    async def after_waiting(self):
        await asyncio.sleep(0.01)
        raise ValueError("later")

    @rpc()
    async def nothing(self):
        pass

    @rpc()
    async def exit(self, status: int = 0):
        sys.exit(status)

    @rpc()
    async def interrupt(self):
        raise KeyboardInterrupt

    @rpc()
    async def base_exception(self):
        raise BaseException("at the base")

    @rpc()
    async def not_a_number(self):
        return float("nan")
