"""The pages about the API: what they show is there, and what they tell to do works."""

import html
import json
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from conftest import Server
from django.core.management import call_command
from django.test import Client
from support.api_docs import (
    code,
    is_what_is_shown,
    readable,
    run_python,
    run_shell,
    seed_picks,
    token_of,
)

from search.api.docs import examples
from search.api.docs.highlighting import highlight
from search.templatetags.docs import with_code

# Each has a test of its own: they are no programs on a visitor's machine.
ALONE = {"setup", "clip_client", "commands", "notebook"}
NAMES = [name for name in examples.names() if name not in ALONE]
STAFFS = {"staff"}
# The package's own import wants a whole search engine; its client is one module.
CLIENT_ALONE = """
import importlib.util, sys, types
found = importlib.util.find_spec("clip_retrieval")
sys.modules["clip_retrieval"] = package = types.ModuleType("clip_retrieval")
package.__path__ = found.submodule_search_locations
"""


@pytest.fixture(scope="module")
def tokens(live_server_process: Server) -> dict[str, str]:
    names = {"anybody": "reader_of_docs", "staff": "admin"}
    return {who: token_of(live_server_process, name) for who, name in names.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def printed(tokens, live_server_process, folder) -> dict[str, str]:
    """Return what the Python examples print, by name."""
    run = partial(run_python, address=live_server_process.url, folder=folder)
    seed_picks(live_server_process)
    # What was picked is asked for after it was picked.
    others = sorted({*NAMES} - STAFFS, key=lambda name: name == "popularity")
    told = run(others, token=tokens["anybody"])
    return told | run(sorted(STAFFS), token=tokens["staff"])


@pytest.fixture
def page(postcards_dataset, db) -> Callable[..., str]:
    """The HTML of a page for a visitor of this host."""

    def fetched(path: str, host: str = "localhost") -> str:
        answer = Client(headers={"host": host}).get(path)
        assert answer.status_code == 200
        return answer.content.decode()

    return fetched


def shown(name: str, language: str, address: str) -> str:
    """Return what the page says that an example prints."""
    found = examples.for_site(name, address, "postcards")
    return next(each.prints for each in found if each.language == language)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_shell_is_told_to_do_works(name, tokens, live_server_process, folder):
    token = tokens["staff" if name in STAFFS else "anybody"]
    address = live_server_process.url
    told = readable(run_shell(name, address, token, folder))
    assert is_what_is_shown(told, shown(name, "sh", address)), told


@pytest.mark.parametrize("name", NAMES)
def test_what_python_is_told_to_do_works(name, printed, live_server_process):
    wanted = shown(name, "py", live_server_process.url)
    assert wanted and is_what_is_shown(printed[name], wanted), printed[name]


def test_what_is_for_programmers_of_the_site_is_not_told():
    """A serializer without a docstring would tell that of the class it is made of."""
    out = StringIO()
    call_command("spectacular", "--format=openapi-json", stdout=out)
    shapes = json.loads(out.getvalue())["components"]["schemas"]
    assert "description" not in shapes["VersionRestoredRequest"]
    assert shapes["NewExportRequest"]["description"].startswith("The content")


def test_other_output_than_what_is_shown_is_noticed():
    told = shown("words", "py", examples.ADDRESS)
    assert is_what_is_shown(told, told)
    assert is_what_is_shown(told.replace("0.23", "0.22"), told)
    assert not is_what_is_shown(told.replace("0.23", "0.33"), told)
    assert not is_what_is_shown(told.replace("orange", "red"), told)
    assert not is_what_is_shown(told + "\nmore", told)
    assert is_what_is_shown('{\n  "a": 1,\n  "b": 2\n}', '{\n  "a": 1,\n  …\n}')
    assert not is_what_is_shown('{\n  "b": 1\n}', '{\n  "a": 1,\n  …\n}')


def test_the_client_of_clip_retrieval_finds_what_is_shown(
    tools, live_server_process, folder
):
    address = live_server_process.url
    done = subprocess.run(
        [tools / "python", "-c", CLIENT_ALONE + code("clip_client", "py", address)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert is_what_is_shown(done.stdout, shown("clip_client", "py", address))


def test_the_commands_of_the_server_print_what_is_shown(
    postcards_dataset, db, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = StringIO()
    lines = code("commands", "sh", examples.ADDRESS).replace("\\\n", "").splitlines()
    commands = [shlex.split(line) for line in lines if line and line[0] != "#"]
    assert all(words[:2] == [".venv/bin/python", "manage.py"] for words in commands)
    for words in commands:
        call_command(*words[2:], stdout=told, stderr=StringIO())
    assert is_what_is_shown(told.getvalue(), shown("commands", "sh", "")), (
        told.getvalue()
    )


def test_the_notebook_that_is_named_is_there():
    named = code("notebook", "sh", examples.ADDRESS).split()[-1]
    assert (examples.FOLDER.parents[2] / named).is_file()


# --- Waiting


class Busy(BaseHTTPRequestHandler):
    """Refuses the first request; the second finds three hits."""

    def do_GET(self) -> None:
        self.server.asked += 1
        refused = self.server.asked == 1
        self.send_response(429 if refused else 200)
        if refused:
            self.send_header("Retry-After", "1")
        body = {"dataset": "postcards", "results": [{}] * 3, "next": None}
        content = json.dumps({"detail": "Wait."} if refused else body).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        """Not among what the tests print."""


@pytest.fixture
def busy() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        server.asked = 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("language", ["sh", "py"])
def test_the_examples_of_patience_wait_and_ask_again(busy, language, tmp_path):
    address = f"http://127.0.0.1:{busy.server_port}"
    if language == "sh":
        assert '"results"' in run_shell("patience", address, "none", tmp_path)
    else:
        told = run_python(["patience"], address, "none", tmp_path)
        assert told["patience"] == "3 hits\n"
    assert busy.asked == 2


# --- The page


def test_the_page_shows_each_example_for_its_own_address(page, settings):
    settings.ALLOWED_HOSTS = ["pictures.example"]
    told = page("/api/docs/", host="pictures.example:8080")
    address = "http://pictures.example:8080"
    for name in examples.names():
        found = examples.for_site(name, address, "postcards")
        for each in found:
            copied = f'data-copy="{html.escape(each.code)}"'.replace("&#x27;", "&#39;")
            assert copied.replace("&#39;", "&#x27;") in told, name
            assert str(highlight(each.code, each.language)) in told, name
    assert examples.ADDRESS not in told


def test_the_contents_lead_to_what_is_there(page):
    for path in ("/api/docs/", "/api/docs/reference/"):
        told = page(path)
        links = set(part.split('"')[0] for part in told.split('href="#')[1:])
        assert len(links) > 5
        assert all(f'id="{link}"' in told for link in links - {"main"}), path


def test_the_page_tells_the_limits_that_count(page, settings):
    settings.LIMITS = {**settings.LIMITS, "search": "7/hour", "export": ""}
    told = page("/api/docs/")
    assert "<dt>Searches</dt><dd>7 in an hour</dd>" in told
    assert "<dt>Exports</dt><dd>no limit</dd>" in told


def test_a_closed_site_keeps_the_page_for_its_users(postcards_dataset, db, settings):
    settings.SEARCH_ANONYMOUS = False
    answer = Client(headers={"host": "localhost"}).get("/api/docs/")
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=/api/docs/"


def test_the_page_works_before_there_is_a_dataset(db, monkeypatch):
    monkeypatch.setattr("search.retrieval.service.datasets", lambda user: [])
    answer = Client(headers={"host": "localhost"}).get("/api/docs/")
    assert answer.status_code == 200
    assert b"dataset=postcards" in answer.content


def test_each_page_leads_to_the_docs(page):
    assert 'href="/api/docs/"' in page("/")


def test_code_is_escaped_and_its_parts_are_marked():
    assert highlight('x = "<b>" # <i>', "py") == (
        'x = <span class="text">&quot;&lt;b&gt;&quot;</span> '
        '<span class="comment"># &lt;i&gt;</span>'
    )
    assert highlight("<script>", "") == "&lt;script&gt;"


# --- All operations


def test_the_reference_tells_all_that_the_schema_tells(page):
    told = page("/api/docs/reference/")
    schema = json.loads(page("/api/schema/?format=json"))
    operations = [
        (method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict)
    ]
    assert len(operations) > 20
    for method, path, operation in operations:
        _, _, rest = told.partition(f'id="{operation["operationId"]}"')
        section, _, _ = rest.partition("</details>")
        assert f">{method.upper()}</span> <code>{path}</code>" in told
        names = [each["name"] for each in operation.get("parameters", ())]
        names += fields_of(schema, operation.get("requestBody", {}))
        for status, answer in operation["responses"].items():
            assert status in section
            if status < "300":
                names += fields_of(schema, answer)
        for name in names:
            assert f"<code>{name}</code>" in section, (path, method, name)


def fields_of(schema: dict, told: dict) -> list[str]:
    """The names of the outermost fields of what a body or an answer may be."""
    shapes = [kind["schema"] for kind in told.get("content", {}).values()]
    names = []
    while shapes:
        shape = shapes.pop()
        while "$ref" in shape:
            shape = schema["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
        names += shape.get("properties", ())
        shapes += [*shape.get("oneOf", ()), *shape.get("anyOf", ())]
    return names


def test_what_is_in_backticks_is_code_and_nothing_else_is():
    assert with_code("`a` <b> `c`") == "<code>a</code> &lt;b&gt; <code>c</code>"
    assert with_code("a `b") == "a <code>b</code>"
