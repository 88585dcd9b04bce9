"""A real PostgreSQL server of the tests' own, in a temporary directory, reached by a Unix socket."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg

from kimi_ui.core.database_url import DatabaseUrl
from kimi_ui.log.postgres import source
from kimi_ui.log.postgres.connection import connect
from kimi_ui.log.postgres.schema import migrate
from kimi_ui.log.sqlite.tables import tables as tables_of_a_log

PASSWORD = "canary-Passw0rd-of-the-database"
TEMPLATE = "kimi_template"
START_S = 100.0
FAST = ("fsync=off", "full_page_writes=off", "autovacuum=off", "shared_buffers=32MB", "max_wal_size=64MB")


def programs() -> Path:
    """The folder of the server's programs. Raises ``RuntimeError`` with the remedy if there is none."""
    on_path = shutil.which("initdb")
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *([Path(on_path).resolve()] if on_path else [])]
    if not found:
        raise RuntimeError("There is no PostgreSQL here: install the package postgresql (tests/run.sh does).")
    return max(found, key=lambda path: path.parent.parent.name).parent


class Cluster:
    """A server; ``user`` is its superuser. It runs as another user where this one is root, which it refuses."""

    user = "kimi"

    def __init__(self) -> None:
        self._programs = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="kimi-pg-"))  # short: a socket's path has 100 characters
        self._emptied: list[DatabaseUrl] = []
        self._user = _other_user()
        if self._user is not None:
            os.chown(self._folder, self._user, self._user)
        (self._folder / "password").write_text(PASSWORD)
        (self._folder / "password").chmod(0o644)
        self._call(
            "initdb",
            "-D",
            "data",
            "-U",
            self.user,
            "--pwfile=password",
            "-A",
            "scram-sha-256",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        )
        self._server: subprocess.Popen[bytes] | None = None
        self.start()
        with connect(self.url(TEMPLATE, create=True)) as connection:
            migrate(connection)

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def start(self) -> None:
        """Start the server, again after ``kill``: its old children may hold the shared memory for a moment."""
        settings = [f"--{one}" for one in (*FAST, "listen_addresses=", f"unix_socket_directories={self._folder}")]
        command = [str(self._programs / "postgres"), "-D", "data", *settings]
        deadline = time.monotonic() + START_S
        with (self._folder / "server.log").open("wb") as log:
            while time.monotonic() < deadline:
                self._server = subprocess.Popen(
                    command, cwd=self._folder, stdout=log, stderr=log, user=self._user, group=self._user
                )
                while self._server.poll() is None:
                    with contextlib.suppress(psycopg.OperationalError), self.connected():
                        return
                    time.sleep(0.02)
        raise RuntimeError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        """End the server as a power cut does."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def close(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait()
        shutil.rmtree(self._folder)

    def url(self, name: str, create: bool = False) -> DatabaseUrl:
        """The URL of a database."""
        url = DatabaseUrl(f"postgresql://{self.user}:{PASSWORD}@/{name}?host={self._folder}")
        if create:
            self.run(f"CREATE DATABASE {name}")
        return url

    def new_log(self) -> DatabaseUrl:
        """A database of its own with an empty log."""
        if self._emptied:
            return self._emptied.pop()
        name = f"log_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    def put_back(self, url: DatabaseUrl) -> None:
        """Delete all rows of a log whose tables are as they were made: that takes a tenth of making another."""
        source.connections_to(url).close()
        tables = [*(table.name for table in reversed(tables_of_a_log())), "measured", "search_documents", "processes"]
        with connect(url) as connection:
            connection.execute("; ".join(f"DELETE FROM {table}" for table in tables).encode())
        self._emptied.append(url)

    def drop(self, url: DatabaseUrl) -> None:
        source.connections_to(url).close()
        self.run(f"DROP DATABASE {url.name} WITH (FORCE)")

    def run(self, statement: str) -> None:
        """Run a statement that concerns the whole server."""
        with self.connected() as connection:
            connection.execute(statement.encode())

    @contextlib.contextmanager
    def connected(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        with connect(self.url("postgres")) as connection:
            yield connection

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, user=self._user, group=self._user
        )
        if done.returncode:
            raise RuntimeError(done.stderr)


def _other_user() -> int | None:
    """Whom the server runs as; None: this user."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise RuntimeError("PostgreSQL does not run as root, and there is no user nobody.")
