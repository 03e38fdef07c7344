"""encode_text and encode_image in SQL, and the prompt that offers them.

All in processes of their own: an engine takes up functions only when it opens.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import python_process

from postcards.draw import draw
from postcards.scene import Scene, Thing
from postcards.shards import MODEL
from search.encoder import local_encoder
from search.errors import InvalidQuery
from search.images.decoders import import_decoders
from search.management.commands.clickhouse_shell import PROMPT, Command, split

ROOT = Path(__file__).resolve().parent.parent
PROMPT_TIMEOUT_S = 240
NASTY = "a red\thouse\nby \\n the 'sea', \"at\" `night`; -- ä 🏠\0."
LONG = "a boat at sea and " * 100  # its length takes two bytes

PREPARE = f"""
import django; django.setup()
from django.core.management import call_command
from search.models import Dataset
call_command("migrate", verbosity=0)
Dataset.objects.create(slug="cards", title="Cards", model="{MODEL}", weights="")
"""
ASK = """
import json, sys
import django; django.setup()
from search.clickhouse import client
from search.errors import InvalidQuery
from search.management.commands.clickhouse_shell import register_encoders
register_encoders(None, sys.argv[1])
answers = {}
for name, statement in json.load(sys.stdin).items():
    try:
        answers[name] = client.raw_result(statement)
    except InvalidQuery as error:
        answers[name] = error.message
print(json.dumps(answers))
"""
CARDS = """
CREATE TABLE item_cards (id UInt64, caption String, image_embedding Array(BFloat16),
  INDEX image_index image_embedding
    TYPE vector_similarity('hnsw', 'cosineDistance', 512, 'bf16', 32, 64)
) ENGINE = MergeTree ORDER BY id SETTINGS index_granularity = 16"""
FILL = """
INSERT INTO item_cards
WITH ['red', 'blue', 'green', 'yellow', 'white', 'black', 'pink', 'brown'] AS colours,
  ['house', 'boat', 'tree', 'car', 'dog', 'horse', 'bird', 'tent', 'cat'] AS things
SELECT number, concat('a ', colours[number % 8 + 1], ' ', things[number % 9 + 1]) AS c,
  encode_text(c) FROM numbers(72)"""
NEAREST = (
    "SELECT caption FROM item_cards "
    "ORDER BY cosineDistance(image_embedding, encode_text('a yellow boat')) LIMIT 5"
)
QUESTIONS = {
    "create": CARDS,
    "fill": FILL,
    "nearest": f"{NEAREST} FORMAT TSV",
    "explain": f"EXPLAIN indexes = 1 {NEAREST} FORMAT TSVRaw",
    "texts": "SELECT encode_text(arrayJoin(["
    f"unhex('{NASTY.encode().hex()}'), '{LONG}', '', 'a\\'b'"
    "])) FORMAT JSONCompactColumns",
    "not utf-8": "SELECT length(encode_text(unhex('ff00'))) FORMAT TSV",
    "image": "SELECT encode_image('card.png') FORMAT JSONCompactColumns",
    "outside": "SELECT encode_image('../outside.png')",
    "linked outside": "SELECT encode_image('link.png')",
    "missing": "SELECT encode_image('no.png')",
    "folder": "SELECT encode_image('')",
    "broken": "SELECT encode_image('broken.png')",
    "many broken": "SELECT encode_image(toString(number)) FROM numbers(500)",
    "image again": "SELECT length(encode_image('card.png')) FORMAT TSV",
}


@dataclass
class Place:
    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        return python_process.run(
            list(arguments), cwd=ROOT, env=self.environment, input=stdin
        )

    def shell(self, *options: str, stdin: str = "") -> subprocess.CompletedProcess:
        return self.run("manage.py", "clickhouse_shell", *options, stdin=stdin)


@pytest.fixture(scope="module")
def place(embedded_environment, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A VAR_DIR with a dataset, and a folder with pictures."""
    folder = tmp_path_factory.mktemp("udf with a space")
    (folder / "pictures").mkdir()
    house = Thing("house", "red", "large", "middle")
    card = draw(Scene("night", "clear", "meadow", (), (house,)))
    card.save(folder / "pictures" / "card.png")
    (folder / "pictures" / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (9, 9)).save(folder / "outside.png")
    (folder / "pictures" / "link.png").symlink_to(folder / "outside.png")
    place = Place(folder, embedded_environment(folder / "var"))
    done = place.run("-c", PREPARE)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def answers(place: Place) -> dict[str, str]:
    """Return the engine's answers to QUESTIONS, asked one after the other."""
    done = place.run(
        "-c", ASK, str(place.folder / "pictures"), stdin=json.dumps(QUESTIONS)
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_encode_text_is_the_encoder_whatever_the_text(answers):
    vectors = np.array(json.loads(answers["texts"])[0], np.float32)
    expected = local_encoder(MODEL, "").encode_texts([NASTY, LONG, "", "a'b"])
    assert np.allclose(vectors, expected, atol=1e-5)
    assert answers["not utf-8"] == "512\n"


def test_encode_image_is_the_encoder_on_the_decoded_picture(answers, place):
    vectors = np.array(json.loads(answers["image"])[0], np.float32)
    card = (place.folder / "pictures" / "card.png").read_bytes()
    [picture] = import_decoders.shrink([card])
    assert np.allclose(
        vectors, local_encoder(MODEL, "").encode_images([picture.image]), atol=1e-5
    )


def test_order_by_encode_text_finds_by_the_index(answers):
    assert answers["create"] == answers["fill"] == ""
    assert answers["nearest"].splitlines()[0] == "a yellow boat"
    assert "image_index" in answers["explain"]
    assert "Sort description: _distance" in answers["explain"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("outside", "“../outside.png”: only images in the folder"),
        ("linked outside", "“link.png”: only images in the folder"),
        ("missing", "“no.png”: there is no such file"),
        ("folder", "“”: there is no such file"),
        ("broken", "“broken.png”: Could not read this file."),
        ("many broken", "“0”: there is no such file"),
    ],
)
def test_a_picture_that_cannot_be_had_fails_the_query_with_a_sentence(
    answers, name, sentence
):
    assert sentence in answers[name]
    assert "\n" not in answers[name]


def test_a_refused_picture_does_not_disturb_the_next_query(answers):
    assert answers["image again"] == "512\n"


@pytest.mark.usefixtures("processes")
def test_the_script_finds_its_checkout_through_a_link_and_asks_for_a_model(tmp_path):
    link = tmp_path / "encode"
    link.symlink_to(ROOT / "deploy" / "clickhouse" / "encode")
    environment = {"PATH": os.environ["PATH"], "ENCODE_PYTHON": sys.executable}
    done = subprocess.run(
        [link, "text"], cwd="/", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "Set ENCODE_MODEL to the model of the dataset.\n"


def test_the_shell_reads_a_pipe_and_offers_the_functions(place):
    statements = (
        "SELECT ';' AS a, -- it's; a comment\n 2 FORMAT CSV;\n\n"
        "CREATE TEMPORARY TABLE t (n Int8);\nINSERT INTO t VALUES (5);\n"
        "SELECT n, name FROM t, system.functions "
        "WHERE origin = 'ExecutableUserDefined' ORDER BY name FORMAT TSV\n"
    )
    done = place.shell("--dataset", "cards", stdin=statements)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '";",2\n5\tencode_image\n5\tencode_text\n'


def test_the_shell_prints_tables_up_to_an_error_in_one_line(place):
    done = place.shell("-c", "SELECT 6 * 7 AS answer, 'ä' AS b; SELEC 1; SELECT 'two'")
    assert done.returncode == 1
    assert "│ 42 │ ä │" in " ".join(done.stdout.split())
    assert "two" not in done.stdout
    assert re.fullmatch(r"Code: 62\. DB::Exception: Syntax error.*\n", done.stderr)


def test_the_shell_refuses_an_open_quotation_mark():
    with pytest.raises(InvalidQuery, match="has no end"):
        Command().run("SELECT 'open; SELECT 2;")


def test_the_shell_knows_its_datasets(place):
    done = place.shell("--dataset", "nowhere", "-c", "SELECT 1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no dataset named “nowhere”." in done.stderr


def test_the_shell_says_who_holds_the_folder(place):
    (place.folder / "var" / "clickhouse").mkdir(exist_ok=True)
    with (place.folder / "var" / "clickhouse" / "status").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = place.shell("-c", "SELECT 1")
    assert done.returncode == 1
    assert "Another process has the ClickHouse folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_shell_says_that_a_server_is_away(place):
    environment = {**place.environment, "CLICKHOUSE_URL": "clickhouse://127.0.0.1:1"}
    done = Place(place.folder, environment).shell("-c", "SELECT 1")
    assert done.returncode == 1
    assert "The search engine does not respond; please try again" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_prompt_takes_lines_until_a_semicolon(place):
    with Terminal(place) as terminal:
        terminal.shown_until(PROMPT)
        assert "Syntax error" in terminal.typed("SELEC 1;\n")
        terminal.typed("SELECT 'never ended\n", until="... ")
        terminal.interrupted()
        terminal.typed("SELECT 40\n", until="... ")
        assert "\n42\r" in terminal.typed("+ 2 FORMAT TSV;\n")
        terminal.typed("\x04", until="")
        assert terminal.process.wait(PROMPT_TIMEOUT_S) == 0
    history = place.folder / "var" / "clickhouse_history"
    assert "SELECT 40" in history.read_text()


class Terminal:
    """The shell with a keyboard and a screen."""

    def __init__(self, place: Place):
        self.screen, end = pty.openpty()
        self.process = python_process.Popen(
            ["manage.py", "clickhouse_shell"],
            cwd=ROOT,
            env={**place.environment, "TERM": "dumb"},
            stdin=end,
            stdout=end,
            stderr=end,
        )
        os.close(end)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.screen)

    def typed(self, keys: str, until: str = PROMPT) -> str:
        os.write(self.screen, keys.encode())
        return self.shown_until(until)

    def interrupted(self) -> None:
        """Press Ctrl-C until the prompt is back: Python may miss a signal.

        It sees one that came just before its wait only when the next key comes.
        """
        shown = ""
        for _ in range(PROMPT_TIMEOUT_S):
            os.kill(self.process.pid, signal.SIGINT)
            os.write(self.screen, b"\n")
            while select.select([self.screen], [], [], 1)[0]:
                shown += os.read(self.screen, 4096).decode(errors="replace")
            if shown.endswith(PROMPT):
                return
        raise AssertionError(shown)

    def shown_until(self, end: str) -> str:
        shown = ""
        while not shown.endswith(end):
            ready, _, _ = select.select([self.screen], [], [], PROMPT_TIMEOUT_S)
            assert ready, shown
            shown += os.read(self.screen, 4096).decode(errors="replace")
        return shown


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("SELECT 1; SELECT 2;\nSEL", ["SELECT 1", "SELECT 2"], "\nSEL"),
        (r"SELECT 'it\'s; ''fine''' ;", [r"SELECT 'it\'s; ''fine'''"], ""),
        ('SELECT "a;b", `c;d`;', ['SELECT "a;b", `c;d`'], ""),
        ("SELECT 4 - 2 /* ; ' */ / 1; -- it's\n", ["SELECT 4 - 2 /* ; ' */ / 1"], None),
        ("SELECT 'a;\n", [], "SELECT 'a;\n"),
        ("SELECT 1 /* a;\n", [], "SELECT 1 /* a;\n"),
        (";; /* nothing */ ;", [], ""),
    ],
)
def test_statements_end_where_the_language_says(text, statements, rest):
    found, after = split(text)
    assert found == statements
    assert rest is None or after == rest
