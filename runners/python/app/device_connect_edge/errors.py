"""The reference's exceptions, for plugins that raise or catch them."""

from device_connect_edge._lacking import lacking

__all__ = [
    "CommissioningError",
    "DeviceConnectError",
    "DeviceConnectionError",
    "DeviceDependencyError",
    "DeviceError",
    "FunctionInvocationError",
    "RegistrationError",
    "ValidationError",
]


class DeviceConnectError(Exception):
    """What they all are."""


class DeviceError(DeviceConnectError):
    """A device's operation failed."""


class RegistrationError(DeviceConnectError):
    """A device could not be registered."""


class DeviceConnectionError(DeviceConnectError):
    """A connection could not be made, or was lost."""


class CommissioningError(DeviceConnectError):
    """A device could not be commissioned."""


class FunctionInvocationError(DeviceConnectError):
    """A function failed."""

    def __init__(self, message: str, function_name: str | None = None, original_error: Exception | None = None) -> None:
        super().__init__(message)
        self.function_name = function_name
        self.original_error = original_error


class ValidationError(DeviceConnectError):
    """Data are not as they have to be."""

    def __init__(self, message: str, field: str | None = None, errors: list | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.errors = errors or []


class DeviceDependencyError(DeviceConnectError):
    """A device that is needed is not there."""

    def __init__(self, message: str, device_type: str = "", timeout: float = 0.0) -> None:
        super().__init__(message)
        self.device_type = device_type
        self.timeout = timeout


__getattr__ = lacking(__name__, __all__)
