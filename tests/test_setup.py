"""Setting up and starting: what goes wrong there is told in one sentence."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT, started_server
from django.core.management import CommandError
from support import python_process

import bootstrap
from laionweb import celery_app
from laionweb.embedded import EmbeddedWorker
from postcards.shards import jpeg
from search.management.commands.serve import listen

OFFLINE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
}


@pytest.fixture
def project(processes, tmp_path: Path) -> Path:
    shutil.copy(ROOT / "bootstrap.py", tmp_path)
    (tmp_path / "requirements-torch.txt").touch()
    return tmp_path


@pytest.fixture
def set_up_here(processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for bootstrap whose environments are that of this process.

    So no test waits for a new one; what is installed goes into another folder.
    """
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "log")
    (tmp_path / "requirements-torch.txt").touch()
    for name, value in {**OFFLINE, "PIP_TARGET": str(tmp_path / "target")}.items():
        monkeypatch.setenv(name, value)
    for environment in (bootstrap.OWN, bootstrap.TOOLS):
        environment.python.parent.mkdir(parents=True)
        environment.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        environment.python.chmod(0o755)
    return tmp_path


def command() -> list[str]:
    return [getattr(sys, "_base_executable", sys.executable), "bootstrap.py"]


def set_up(project: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(),
        cwd=project,
        env={**os.environ, **OFFLINE, **environment},
        capture_output=True,
        text=True,
    )


def add_package(project: Path, name: str, backend: str = "", extension: bool = False):
    """Lock a source package next to bootstrap.py.

    It builds with the setuptools of these tests, the index being out of reach.
    """
    import setuptools

    folder = project / name
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        'backend-path = ["."]\n'
    )
    site_packages = str(Path(setuptools.__file__).parent.parent)
    (folder / "backend.py").write_text(
        f"import sys\nsys.path.append({site_packages!r})\n"
        f"from setuptools.build_meta import *\n{backend}"
    )
    (folder / f"{name}.c").write_text("#include <Python.h>\n")
    extensions = f"[Extension('{name}', ['{name}.c'])]" if extension else "[]"
    (folder / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        f"setup(py_modules=[], ext_modules={extensions})\n"
    )
    archive = shutil.make_archive(str(folder), "gztar", project, name)
    digest = hashlib.sha256(Path(archive).read_bytes()).hexdigest()
    lock(project, f"{name} @ file://{archive} --hash=sha256:{digest}")


def lock(project: Path, requirement: str) -> None:
    (project / "requirements.txt").write_text(f"{requirement}\n")


def test_an_unreachable_index_is_named(set_up_here: Path, capsys):
    lock(set_up_here, f"tqdm==4.70.1 --hash=sha256:{64 * '0'}")
    assert bootstrap.main([]) == 1
    assert capsys.readouterr().err == (
        "The package index cannot be reached: connection refused;"
        " check the network or PIP_INDEX_URL.\n"
    )


def test_a_package_that_was_changed_is_not_installed(set_up_here: Path, capsys):
    add_package(set_up_here, "changed")
    with (set_up_here / "changed.tar.gz").open("ab") as archive:
        archive.write(b"more")
    assert bootstrap.main([]) == 1
    told = capsys.readouterr().err
    assert told.startswith("A Python package differs from the one that was locked")


def test_a_missing_compiler_is_named(set_up_here: Path, monkeypatch, capsys):
    add_package(set_up_here, "needs_compiling", extension=True)
    (set_up_here / "empty").mkdir()
    monkeypatch.setenv("PATH", str(set_up_here / "empty"))
    monkeypatch.setenv("CC", "gcc")
    assert bootstrap.main([]) == 1
    assert capsys.readouterr().err == (
        "No C compiler was found, and needs_compiling has to be compiled here: install"
        " gcc and the Python headers (Debian: apt-get install build-essential"
        " python3-dev).\n"
    )


@pytest.mark.soak
def test_an_interrupted_install_is_repaired(project: Path):
    add_package(project, "slow", backend="import time\ntime.sleep(60)\n")
    started = subprocess.Popen(
        command(),
        cwd=project,
        env={**os.environ, **OFFLINE},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = project / "var" / "setup.log"
    wait_until(lambda: log.exists() and "slow" in log.read_text())
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    shutil.rmtree(next(project.glob(".venv/lib/*/site-packages/pip")))

    add_package(project, "quick")
    assert set_up(project).returncode == 0
    again = set_up(project)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_tools_that_cannot_be_had_stop_nothing(set_up_here: Path, capsys):
    """They are third-party programs, which few tests start."""
    tool = f"laionweb-no-such-tool==1 --hash=sha256:{64 * '0'}\n"
    (set_up_here / "requirements-tools.txt").write_text(tool)
    bootstrap.prepare_tools()
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "The package index cannot be reached: connection refused;"
        " check the network or PIP_INDEX_URL.",
        "The tests that need .venv-tools will be left out.",
    ]
    assert bootstrap.TOOLS.unfinished.exists() and not bootstrap.TOOLS.stamp.exists()


def wait_until(condition, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            "ERROR: Could not install: [Errno 28] No space left on device",
            "The disk is full: the Python packages need about 3 GB.",
        ),
        (
            "ERROR: No matching distribution found for chdb==4.4.0",
            "The Python packages could not be installed: No matching distribution"
            f" found for chdb==4.4.0 (more in {bootstrap.LOG}).",
        ),
        (
            "Collecting x==1\n  x.c:1: fatal error: Python.h: No such file or directory"
            "\nERROR: Failed building wheel for x",
            "The Python headers were not found, and x has to be compiled here: install"
            " gcc and the Python headers (Debian: apt-get install build-essential"
            " python3-dev).",
        ),
        (
            "connection broken by 'NameResolutionError(...: Failed to resolve"
            " ([Errno -3] Temporary failure in name resolution)')'",
            "The package index cannot be reached: temporary failure in name resolution;"
            " check the network or PIP_INDEX_URL.",
        ),
    ],
)
def test_other_failures_have_a_sentence(log: str, sentence: str):
    assert bootstrap.explain(log) == sentence


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 2))
    with pytest.raises(bootstrap.SetupError, match="needs Python 3.11 or newer"):
        bootstrap.check_python()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch):
    there = {"chromium": lambda: None, "postgresql": lambda: "/usr/bin"}
    monkeypatch.setattr(bootstrap, "SYSTEM_PACKAGES", there)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(bootstrap.SetupError, match="not installed: chromium \\("):
        bootstrap.install_system_packages()


def serve(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess:
    command = ["manage.py", "serve", "--no-example", *options]
    return python_process.run(command, cwd=ROOT, env=environment)


def test_a_port_in_use_is_named(embedded_environment, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(embedded_environment(tmp_path, PORT=str(port)))
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: Port {port} is in use: stop the other program or choose another port,"
        " e.g. PORT=8001 make run.\n"
    )


@pytest.mark.parametrize(
    ("host", "port", "sentence"),
    [
        ("127.0.0.1", 99_999, "There is no port 99999"),
        ("203.0.113.7", 0, "203.0.113.7 is not an address of this machine"),
    ],
)
def test_an_address_that_is_none_is_refused(host: str, port: int, sentence: str):
    with pytest.raises(CommandError, match=sentence):
        listen(host, port)


def test_a_start_that_fails_says_why(embedded_environment, tmp_path: Path):
    database = "postgres://a@127.0.0.1:9/a"
    done = serve(embedded_environment(tmp_path, DATABASE_URL=database))
    assert done.returncode == 1
    assert "The database cannot be used" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_embedded_worker_runs_tasks_and_stops():
    ran = threading.Event()

    @celery_app.task
    def ring() -> None:
        ran.set()

    worker = EmbeddedWorker()
    worker.start()
    ring.delay()
    try:
        assert ran.wait(30)
        assert worker.stop(10)
    finally:
        celery_app.tasks.unregister(ring.name)


def test_a_server_starts_stops_and_is_alone(embedded_environment, tmp_path: Path):
    environment = embedded_environment(tmp_path / "var")
    with started_server(tmp_path / "log", environment, "--no-example") as server:
        assert server.password
        with urllib.request.urlopen(f"{server.url}/admin/login/") as answer:
            assert answer.status == 200

        second = serve(environment)
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].startswith(
            "Error: Another process has the ClickHouse folder"
        )
        assert "Traceback" not in second.stderr

        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0

    with started_server(tmp_path / "log", environment, "--no-example") as server:
        assert not server.password, "shown at the first start only"
    assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()


def test_a_folder_of_images_is_imported_by_one_command(
    embedded_environment, tmp_path: Path
):
    images = tmp_path / "summer_photos"
    images.mkdir()
    for number in range(3):
        (images / f"{number}.jpg").write_bytes(jpeg(number))
    (images / "broken.jpg").write_bytes(jpeg(3)[:200])
    # Without a network for the weights of a model.
    environment = embedded_environment(tmp_path / "var", HF_HUB_OFFLINE="1")
    starting = started_server(tmp_path / "log", environment, "--folder", str(images))
    with starting as server:
        printed = starting.wait_for("Search them: ")
        assert "which knows drawn postcards only" in printed
        assert re.search(r"Done: 3 images in \d+ s; 1 file left out\.", printed)
        address = f"{server.url}/?dataset=summer-photos"
        assert address in printed
        with urllib.request.urlopen(address) as answer:
            assert "blurred" not in answer.read().decode()
        search = f"{server.url}/api/search/?dataset=summer-photos&q=a+house"
        with urllib.request.urlopen(search) as answer:
            assert len(json.load(answer)["results"]) == 3
        with urllib.request.urlopen(f"{server.url}/api/datasets/") as answer:
            assert [each["slug"] for each in json.load(answer)] == ["summer-photos"]


def test_a_folder_that_does_not_exist_is_refused(embedded_environment, tmp_path: Path):
    done = serve(embedded_environment(tmp_path), "--folder", "/nowhere/at/all")
    assert done.returncode == 1
    assert done.stderr == "Error: There is no folder /nowhere/at/all.\n"
