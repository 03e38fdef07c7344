"""Searching by command: what it finds, what it prints, and how it ends."""

import io
import json
import os
import pty
import re
import subprocess
import termios
import threading
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import CommandError, call_command
from django.db import connection
from support import python_process
from support.clickhouse_http import Server
from wcwidth import wcswidth

from postcards.shards import jpeg
from search.clickhouse import client as engine
from search.errors import NotFound, SearchUnavailable
from search.management import query_options
from search.management.commands.search import Command
from search.management.console import for_programs, for_terminal
from search.models import SYSTEM
from search.query import concepts
from search.retrieval.ranking import Hidden
from search.retrieval.service import Hit

pytestmark = pytest.mark.django_db
TIMEOUT_S = 60


@pytest.fixture
def search(postcards_dataset):
    """Runs the command; returns what it prints, and what it says beside."""

    def search(*arguments: object) -> tuple[str, str]:
        printed, said = io.StringIO(), io.StringIO()
        words = map(str, arguments)
        call_command("search", *words, stdout=printed, stderr=said)
        return printed.getvalue(), said.getvalue()

    return search


@pytest.fixture
def refused(search):
    """Runs a command that fails; returns the sentence and the exit code."""

    def refused(*arguments: object) -> tuple[str, int]:
        with pytest.raises(CommandError) as error:
            search(*arguments)
        return str(error.value), error.value.returncode

    return refused


def rows(printed: str) -> list[list[str]]:
    return [line.split("\t") for line in printed.splitlines()]


def by_api(client, **body) -> dict:
    body = {"dataset": "postcards", **body}
    answer = client.post("/api/search/", body, "application/json")
    assert answer.status_code == 200
    return answer.json()


# --- What it finds


def test_it_finds_what_the_page_and_the_api_find(search, client):
    words = "red house -car width>512"
    printed, said = search(words, "--dataset", "postcards", "--limit", 20)
    asked = {"dataset": "postcards", "q": words, "limit": 20}
    told = client.get("/api/search/", asked).json()["results"]
    assert rows(printed) == [
        [
            f"{hit['similarity']:.3f}",
            str(hit["id"]),
            f"{hit['width']}×{hit['height']}",
            " ".join(hit["caption"].split()),
            hit["url"],
        ]
        for hit in told
    ]
    assert len(told) == 20
    assert re.fullmatch(r"20 of 2,000 items, in \d+\.\d s; 2,000 [^\n]+\n", said)


def test_json_is_what_the_api_answers_page_after_page_in_one(search, client):
    printed, said = search("a black cat", "--limit", 250, "--json")
    told, cursor, results = json.loads(printed), "", []
    for limit in (100, 100, 50):
        page = by_api(
            client, terms=[{"text": "a black cat"}], limit=limit, cursor=cursor
        )
        results, cursor = results + page["results"], page["next"]
    assert said == ""
    assert told.keys() == page.keys()
    for name in ("page", "thumbnail"):
        for hit in results:
            hit[name] = hit[name].removeprefix("http://testserver")
    assert told["results"] == results and len(results) == 250
    assert told["hidden"] == page["hidden"]
    assert told["next"] and told["timing"]["total_ms"] > 0


def test_it_walks_to_the_end_of_a_dataset(search):
    printed, said = search("--item", 7, "--limit", 10_000, "--no-dedupe", "--nsfw=any")
    ids = [row[1] for row in rows(printed)]
    assert len(ids) == len(set(ids)) == 1_999  # all but the item itself
    assert said.startswith("1,999 of 2,000 items, in ")


def test_pictures_items_and_words_are_one_query(search, client, tmp_path):
    (tmp_path / "boat.jpg").write_bytes(jpeg(3))
    picture = ("--image", tmp_path / "boat.jpg")
    printed, _ = search("at night", *picture, "--item", 7, "--limit", 5, "--json")
    terms = [{"text": "at night"}, {"image": b64encode(jpeg(3)).decode()}, {"item": 7}]
    told = by_api(client, terms=terms, limit=5)["results"]
    found = json.loads(printed)["results"]
    assert [hit["id"] for hit in found] == [hit["id"] for hit in told]


def test_options_are_those_of_the_api(search, client):
    filters = {"min_width": 400, "caption": "cat", "nsfw": "any", "dedupe": False}
    options = ("--min-width=400", "--caption=cat", "--nsfw=any", "--no-dedupe")
    how = {"field": "text", "mode": "exact", "sort": "size"}
    options += tuple(f"--{name}={value}" for name, value in how.items())
    printed, _ = search("an animal", *options, "--limit", 7, "--json")
    terms = [{"text": "an animal"}]
    told = by_api(client, terms=terms, filters=filters, limit=7, **how)
    found = json.loads(printed)
    assert found["results"] and found["exact"]
    assert [hit["id"] for hit in found["results"]] == [
        hit["id"] for hit in told["results"]
    ]
    assert found["matching"] == told["matching"]


def test_a_filter_in_the_words_wins(search):
    options = ("--caption=house", "--limit=5", "--json")
    inside, _ = search('"cat" animals', *options)
    assert all("cat" in hit["caption"] for hit in json.loads(inside)["results"])


def test_when_nothing_is_found_it_says_so_and_all_is_well(search):
    printed, said = search("a cat", "--min-width", 100_000)
    assert printed == ""
    said = re.sub(r"\d+\.\d", "0.1", said)
    assert said == "Nothing was found, in 0.1 s; 0 pass the filters.\n"


def test_what_is_hidden_is_said(postcards_dataset):
    query = query_options.query("postcards", "", [], [7], {})
    first, last = query_options.pages_of(query, AnonymousUser(), 150)
    last = replace(last, hidden=Hidden(nsfw=1_200, duplicates=1, removed=3))
    said = query_options.remark("postcards", [first, last])
    assert re.sub(r"\d+\.\d", "0.1", said) == (
        "150 of 2,000 items, in 0.1 s; 1,200 NSFW hidden (--nsfw any shows them); "
        "1 near-duplicate folded (--no-dedupe shows them); 3 removed."
    )


def test_concepts_are_those_that_the_user_may_see(search, refused, monkeypatch):
    ada = User.objects.create(username="ada")
    asked = []

    def lookup(concept, user, dataset):
        asked.append(user)
        if user != ada:
            raise NotFound("This concept does not exist or you cannot view it.")
        return concepts.ResolvedConcept((1.0,) * 512, "night")

    monkeypatch.setattr(concepts, "_lookup", lookup)
    words = "concept:12345678-1234-1234-1234-123456789abc"
    assert len(rows(search(words, "--user", "ada", "--limit", 3)[0])) == 3
    assert refused(words) == ("This concept does not exist or you cannot view it.", 1)
    assert asked == [ada, SYSTEM]


# --- What it refuses


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "There is nothing to search for."),
        (["nsfw:any"], "Add words or an image: a search needs more than filters."),
        (["cat heigth>300"], "“heigth>300”: Unknown filter “heigth”."),
        (["cat -(boat"], "“(”: Close this parenthesis."),
        (["cat", "--dataset", "nowhere"], "There is no dataset named “nowhere”."),
        (["cat", "--user", "nobody"], "There is no user “nobody”."),
        (["--item", "99999999999"], "There is no item 99999999999 in this dataset."),
        (["--item", "1", "--cutoff", "nan"], "Invalid filter: cutoff must be between"),
        (
            ["cat", "--min-width=-5"],
            "Invalid filter: min_width must be a number of pixels.",
        ),
        (["--image", "/nowhere.jpg"], "/nowhere.jpg cannot be read: No such file"),
        (["--image", "README.md"], "README.md: Could not read this file."),
        (["--image", "/dev/zero"], "/dev/zero: The image is larger than 10 MB"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(refused, arguments, sentence):
    said, code = refused(*arguments)
    assert said.startswith(sentence) and code == 1


def test_of_several_datasets_one_is_to_be_named(
    refused, monkeypatch, postcards_dataset
):
    several = [postcards_dataset] * 2
    monkeypatch.setattr(query_options.service, "datasets", lambda user: several)
    said, code = refused("cat")
    assert (said, code) == ("Say which --dataset is meant: postcards, postcards.", 1)
    monkeypatch.setattr(query_options.service, "datasets", lambda user: [])
    assert refused("cat") == ("There is no dataset to be searched yet.", 1)


@pytest.mark.parametrize("limit", ["0", "10001", "x", "-1", "1.5"])
def test_what_is_not_written_as_it_should_be_ends_with_2(capsys, limit):
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "search", "cat", "--limit", limit])
    assert ended.value.code == 2
    said = "argument --limit: This is a number from 1 to 10,000.\n"
    assert capsys.readouterr().err.endswith(said)


def test_when_the_engine_is_away_the_exit_code_says_to_try_again(refused, monkeypatch):
    def away(*_, **__):
        raise SearchUnavailable("The engine is away.")

    monkeypatch.setattr(engine, "rows", away)
    assert refused("cat") == ("The engine is away.", 75)


# --- How it looks

HOSTILE = Hit(
    dataset="odd",
    id=4294967300,
    url="http://example.org/\x1b]0;title\x07.jpg",
    caption="red \x1b[31m\u202eесть\n日本語\t🏠 " + "very " * 40 + "long",
    similarity=-0.0512,
    caption_similarity=None,
    width=0,
    height=0,
    nsfw="",
    license="",
)
PLAIN = Hit(
    dataset="postcards",
    id=7,
    url="/postcards/7.jpg",
    caption="a red house",
    similarity=0.25,
    caption_similarity=None,
    width=640,
    height=480,
    nsfw="",
    license="",
)


def test_for_programs_nothing_is_shortened_and_nothing_steers_a_terminal():
    (line,) = for_programs([HOSTILE])
    similarity, number, size, caption, url = line.split("\t")
    assert (similarity, number, size) == ("-0.051", "4294967300", "–")
    assert caption == "red [31mесть 日本語 🏠 " + "very " * 40 + "long"
    assert url == "http://example.org/]0;title.jpg"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_in_a_terminal_the_columns_are_aligned(width):
    lines = list(for_terminal([PLAIN, HOSTILE], width))
    urls = "/postcards/7.jpg", "http://example.org/]0;title.jpg"
    captions, with_urls = (lines, lines) if width > 80 else (lines[::2], lines[1::2])
    assert len(captions) == 2 and all(wcswidth(line) <= width for line in captions)
    assert captions[1].count("…") == 1
    assert columns_before(captions[0], "a ") == columns_before(captions[1], "r")
    starts = [
        columns_before(line, url) for line, url in zip(with_urls, urls, strict=True)
    ]
    assert starts[0] == starts[1]


def columns_before(line: str, text: str) -> int:
    return wcswidth(line[: line.index(text)])


def test_of_nothing_there_are_no_lines():
    assert list(for_terminal([], 80)) == list(for_programs([])) == []


# --- In a process of its own


def environment(**more: str) -> dict[str, str]:
    """Search the tests' own database and dataset."""
    url = os.environ["DATABASE_URL"].rpartition("/")[0]
    database = connection.settings_dict["NAME"]
    return {**os.environ, "DATABASE_URL": f"{url}/{database}", **more}


def run(arguments: list[str], **more) -> subprocess.Popen:
    command = ["manage.py", "search", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return python_process.Popen(command, cwd=ROOT, **(pipes | more))


def test_while_a_server_has_the_engine_open_it_says_what_to_do(postcards_dataset):
    """The process that holds it here is that of the tests."""
    engine.ping()
    process = run(["--item", "7"], env=environment())
    printed, said = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, printed) == (75, b"")
    assert said.decode() == (
        f"Error: Another process ({os.getpid()}) has the search engine open, as a "
        "server that runs has it: search on its page or by its API, or stop it.\n"
    )


@contextmanager
def engine_by_http():
    """This process's engine for others."""
    server = Server(str(Path(settings.VAR_DIR) / "clickhouse"), 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"clickhouse://127.0.0.1:{server.server_address[1]}/default"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_in_a_terminal_in_a_pipe_and_out_of_it(postcards_dataset):
    """Both at once, since each takes its time to start."""
    engine.ping()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with engine_by_http() as url:
        env = environment(CLICKHOUSE_URL=url)
        env.pop("COLUMNS", None)
        ended = run(["--item", "7", "--limit", "1900"], env=env)
        ended.stdout.close()  # as head does when it has enough
        shown = run(["--item", "7", "--limit", "3"], env=env, stdout=theirs)
        os.close(theirs)
        assert re.fullmatch(rb"1,\d{3} of 2,000 [^\n]+\n", ended.stderr.read())
        assert ended.wait(TIMEOUT_S) == 0
        assert shown.wait(TIMEOUT_S) == 0
    lines = os.read(ours, 65_536).decode().splitlines()
    os.close(ours)
    assert len(lines) == 3
    assert len({line.index("/postcards/") for line in lines}) == 1
    assert all(wcswidth(line) <= 100 for line in lines)
    for process in (ended, shown):
        process.stderr.close()
