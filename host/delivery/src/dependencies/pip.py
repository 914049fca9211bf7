# pip, with environment markers (PEP 508) judged as the runner's Python would judge them: pip has options for the wheels
# of another Python, and none for its markers.
import runpy

RUNNER = {
    "implementation_name": "cpython",
    "implementation_version": "3.14.0",
    "os_name": "posix",
    "platform_machine": "wasm32",
    "platform_python_implementation": "CPython",
    "platform_release": "0.0.0",
    "platform_system": "wasi",
    "platform_version": "0.0.0",
    "python_full_version": "3.14.0",
    "python_version": "3.14",
    "sys_platform": "wasi",
}

if __name__ == "__main__":
    from pip._vendor.packaging import markers

    markers.default_environment = lambda: dict(RUNNER)
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
