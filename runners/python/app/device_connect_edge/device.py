"""`DeviceRuntime`, where the reference has it."""

from device import Device as DeviceRuntime

__all__ = ["DeviceRuntime"]
