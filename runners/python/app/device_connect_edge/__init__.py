"""What plugins written for the reference host import of its package: what plugins use. Its runtime is the host."""

from device import Device as DeviceRuntime
from device_connect_edge._lacking import lacking
from device_connect_edge.errors import (
    CommissioningError,
    DeviceConnectError,
    DeviceConnectionError,
    DeviceDependencyError,
    DeviceError,
    FunctionInvocationError,
    RegistrationError,
    ValidationError,
)
from device_connect_edge.types import (
    DeviceCapabilities,
    DeviceIdentity,
    DeviceState,
    DeviceStatus,
    EventDef,
    FunctionDef,
)

__all__ = [
    "CommissioningError",
    "DeviceCapabilities",
    "DeviceConnectError",
    "DeviceConnectionError",
    "DeviceDependencyError",
    "DeviceError",
    "DeviceIdentity",
    "DeviceRuntime",
    "DeviceState",
    "DeviceStatus",
    "EventDef",
    "FunctionDef",
    "FunctionInvocationError",
    "RegistrationError",
    "ValidationError",
]

__getattr__ = lacking(__name__, __all__)
