"""`@voxgate/client` as npm packs it, and folders of web pages."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voxgate import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
SOURCE = ROOT / "src" / "voxgate" / "web" / "client"
MODULES = ROOT / "build" / "clients" / "node_modules"
"""Where `make clients` installs packages of npm."""


def install_client(site: Path) -> Path:
    """The client below `site`/node_modules, packed by npm and unpacked. Skips the test without npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    checkout = site / "checkout"
    ignored = shutil.ignore_patterns("dist", "node_modules", "*.tgz")
    shutil.copytree(PACKAGE, checkout / PACKAGE.relative_to(ROOT), ignore=ignored)
    shutil.copytree(SOURCE, checkout / SOURCE.relative_to(ROOT))
    shutil.copy(ROOT / "LICENSE", checkout)
    place = site / "node_modules" / "@voxgate"
    place.mkdir(parents=True)
    pack = [npm, "pack", "--silent", "--offline", "--pack-destination", place]
    subprocess.run(pack, cwd=checkout / "clients" / "js", check=True, timeout=60, stdout=subprocess.DEVNULL)
    with tarfile.open(place / f"voxgate-client-{__version__}.tgz") as archive:
        archive.extractall(place, filter="data")
    return (place / "package").rename(place / "client")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serve_folder(folder: Path, handler: type[http.server.SimpleHTTPRequestHandler] = _Quiet) -> Iterator[str]:
    """The origin of a server of a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
