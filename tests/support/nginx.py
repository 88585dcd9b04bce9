"""A real nginx in front of replicas, with the configuration that operators are given."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kimi_ui import bus

from .browser import free_port
from .waiting import until

PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"
SITE = Path(bus.__file__).with_name("nginx.conf")
MAIN = f"""
{"user root;" if os.getuid() == 0 else ""}
daemon off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    add_header X-Replica $upstream_addr always;
    include site.conf;
}}
"""


class Nginx:
    """``replicas``: their addresses, like ``127.0.0.1:7861``. A response's header ``X-Replica`` says who gave it (the
    last one, if the first could not be reached)."""

    def __init__(self, folder: Path, replicas: Sequence[str]) -> None:
        self._folder = folder
        self._port = free_port()  # kept, so that no other process is given it; it does not listen, so nginx may
        address = f"127.0.0.1:{self._port.getsockname()[1]}"
        self.url = f"http://{address}"
        site = SITE.read_text(encoding="utf-8").replace("listen 80;", f"listen {address};")
        (first, options), *others = re.findall(r"( +server 127\.0\.0\.1:\d+( [^;]+)?;\n)", site)
        servers = "".join(f"    server {replica}{options};\n" for replica in replicas)
        site = site.replace(first, servers)
        for line, _ in others:
            site = site.replace(line, "")
        (folder / "site.conf").write_text(site, encoding="utf-8")
        (folder / "main.conf").write_text(MAIN, encoding="utf-8")

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        command = [PROGRAM, "-p", str(self._folder), "-c", "main.conf", "-e", "error.log"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "error.log").read_text(encoding="utf-8")
        host, _, port = self.url.removeprefix("http://").partition(":")
        with suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
            return True
        return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._port.close()
