"""A real nginx with the committed files, in front of several servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["NGINX", "Nginx", "site"]

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def site(folder: Path, port: int, servers: Sequence[int]) -> str:
    """deploy/nginx.conf with the upstream of several servers. Only addresses and paths differ, and there is no TLS."""
    upstream = (DEPLOY / "cluster" / "upstream.conf").read_text()
    for number, server in enumerate(servers, 11):
        assert f"server 10.0.0.{number}:8080" in upstream
        upstream = upstream.replace(f"10.0.0.{number}:8080", f"127.0.0.1:{server}")
    text = (DEPLOY / "nginx.conf").read_text()
    block = text[text.index("upstream voxgate {") : text.index("}\n") + 2]
    for old, new in {
        block: upstream,
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "/var/log/nginx/voxgate.log": f"{folder}/access.log",
    }.items():
        assert old in text
        text = text.replace(old, new)
    text = "\n".join(line for line in text.splitlines() if "ssl_" not in line)
    return (
        f"daemon off; pid {folder}/pid; error_log stderr error; worker_processes 1;\n"
        f"events {{}}\nhttp {{\nclient_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{text}\n}}\n"
    )


class Nginx:
    """Started by the constructor, ended by leaving."""

    def __init__(self, folder: Path, port: int, servers: Sequence[int]) -> None:
        """`servers`: the ports of two servers."""
        self.port = port
        (folder / "nginx.conf").write_text(site(folder, port, servers))
        assert NGINX is not None
        command = [NGINX, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(30)
