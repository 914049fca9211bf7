"""What plugins import of the reference's driver framework."""

from device_connect_edge._lacking import lacking
from device_connect_edge.drivers.base import DeviceDriver, on
from device_connect_edge.drivers.decorators import (
    before_emit,
    build_event_schema,
    build_function_schema,
    emit,
    get_rpc_source_device,
    periodic,
    rpc,
)

__all__ = [
    "DeviceDriver",
    "before_emit",
    "build_event_schema",
    "build_function_schema",
    "emit",
    "get_rpc_source_device",
    "on",
    "periodic",
    "rpc",
]

__getattr__ = lacking(__name__, __all__)
