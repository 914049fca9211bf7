"""Bundles, well made and badly made."""

import base64
import hashlib
import io
import json
import os
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

CORE_MODULE = b"\0asm\x01\0\0\0"
EMPTY_COMPONENT = b"\0asm\x0d\0\x01\0"


def folder_of(name):
    """Where an assembled plugin lies, or would lie."""
    root = os.environ.get("MORTISE_GUESTS")
    if not root:
        raise AssertionError("MORTISE_GUESTS names no folder of assembled guests: run `cargo xtask interop`")
    return Path(root).resolve() / name


def files_of(name):
    """A guest's files by name, as bytes.

    Plugins lie assembled in `$MORTISE_GUESTS/<id>`; fixtures are bare components in `out` beside that folder and get
    the plainest manifest here.
    """
    folder = folder_of(name)
    component = folder.parents[1] / "out" / f"{name}.wasm"
    if folder.is_dir():
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    if component.is_file():
        manifest = {"id": name, "version": "0.1.0", "type": "wasm", "entry_point": "plugin.wasm"}
        return {"manifest.json": json.dumps(manifest).encode(), "plugin.wasm": component.read_bytes()}
    raise AssertionError(f"no guest `{name}`: neither {folder} nor {component}")


@dataclass
class Bundle:
    """Archive bytes and how they are sent."""

    data: bytes
    extra: dict = field(default_factory=dict)

    @property
    def digest(self):
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    def params(self):
        return {"bundle_b64": base64.b64encode(self.data).decode(), "digest": self.digest} | self.extra


def tar_gz(members):
    """A gzip tar of `{name: bytes}`, or of ready-made `tarfile.TarInfo` with their bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            if isinstance(name, tarfile.TarInfo):
                info = name
            else:
                info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_archive(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    """A tar member that is a symbolic link, or a hard link."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def with_manifest(files, **changes):
    """The same files with keys of the manifest set; `None` removes a key."""
    manifest = json.loads(files["manifest.json"]) | changes
    manifest = {key: value for key, value in manifest.items() if value is not None}
    return files | {"manifest.json": json.dumps(manifest).encode()}


def bundle_of(name, **manifest_changes):
    """A guest as a root-layout tar.gz."""
    files = files_of(name)
    return Bundle(tar_gz(with_manifest(files, **manifest_changes) if manifest_changes else files))
