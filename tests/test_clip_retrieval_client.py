"""The ClipClient that clip-retrieval publishes, over HTTP against our server."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from conftest import Server

# The package's own import brings in a whole search engine; its client is one module.
CLIENT = """
import importlib.util, json, sys
from pathlib import Path

package = importlib.util.find_spec("clip_retrieval").submodule_search_locations[0]
path = Path(package) / "clip_client.py"
spec = importlib.util.spec_from_file_location("clip_client", path)
clip_client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(clip_client)
made, asked = json.load(sys.stdin)
if "modality" in made:
    made["modality"] = clip_client.Modality(made["modality"])
json.dump(clip_client.ClipClient(**made).query(**asked), sys.stdout)
"""
ITEM = 123
Ask = Callable[..., list[dict]]


@pytest.fixture
def ask(tools: Path, live_server_process: Server) -> Ask:
    """Makes a client with these options, and has it ask this."""

    def asked(options: dict | None = None, **query) -> list[dict]:
        url = f"{live_server_process.url}/knn-service"
        made = {"url": url, "indice_name": "postcards", **(options or {})}
        done = subprocess.run(
            [tools / "python", "-c", CLIENT],
            input=json.dumps([made, query]),
            capture_output=True,
            text=True,
            env={**os.environ, "NO_PROXY": "*"},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return asked


@pytest.fixture
def own(live_server_process: Server) -> Callable[..., list[dict]]:
    """Return our own API's hits."""

    def asked(term: dict, **more) -> list[dict]:
        url = f"{live_server_process.url}/api/search/"
        body = {"dataset": "postcards", "terms": [term], "limit": 40, **more}
        answer = requests.post(url, json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()["results"]

    return asked


def ids(rows: list[dict]) -> list[int]:
    return [row["id"] for row in rows]


def test_words_find_the_pictures_that_our_own_api_finds(ask, own, live_server_process):
    rows, wanted = ask(text="a red house"), own({"text": "a red house"})
    assert len(rows) == 40
    for row, hit in zip(rows, wanted, strict=True):
        assert row["id"] == hit["id"]
        assert row["caption"] == hit["caption"]
        assert row["similarity"] == pytest.approx(hit["similarity"])
        assert row["url"] == f"{live_server_process.url}/postcards/{hit['id']}.jpg"
    assert "house" in rows[0]["caption"]
    answer = requests.get(rows[0]["url"], timeout=60)
    assert answer.headers["Content-Type"] == "image/jpeg"


def test_a_picture_from_disk_finds_itself(ask, live_server_process, tmp_path):
    picture = tmp_path / "picture.jpg"
    url = f"{live_server_process.url}/postcards/{ITEM}.jpg"
    picture.write_bytes(requests.get(url, timeout=60).content)
    first = ask(image=str(picture))[0]
    assert first["id"] == ITEM
    assert first["similarity"] > 0.99


def test_a_picture_by_the_url_of_a_result_finds_itself(ask, own, live_server_process):
    rows = ask(image=f"{live_server_process.url}/postcards/{ITEM}.jpg")
    assert rows[0]["id"] == ITEM
    assert set(ids(own({"item": ITEM}))[:10]) <= set(ids(rows))


def test_an_embedding_finds_what_it_is_of(ask, own):
    hit = own({"text": "a black cat"}, include=["embedding"], limit=1)[0]
    rows = ask(embedding_input=hit["embedding"])
    assert rows[0]["id"] == hit["id"]
    assert ids(rows) == ids(own({"embedding": hit["embedding"]}))


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"modality": "text"}, {"field": "text"}),
        ({"num_images": 7}, {"limit": 7}),
        ({"deduplicate": False}, {"filters": {"dedupe": False}}),
        ({"use_safety_model": False}, {"filters": {"nsfw": "any"}}),
        ({"use_violence_detector": False}, {}),
        ({"use_mclip": True, "aesthetic_score": 2, "aesthetic_weight": 0.9}, {}),
        ({"indice_name": None}, {}),
    ],
)
def test_each_option_is_understood(ask, own, options, same):
    assert ids(ask(options, text="a boat")) == ids(own({"text": "a boat"}, **same))


def test_what_is_refused_is_told_and_breaks_no_client(ask):
    """It looks at no status, and takes everything for JSON."""
    inside = ask(image="http://169.254.169.254/latest/meta-data")
    assert inside == {"message": "Only public internet addresses are allowed."}
    unknown = ask({"indice_name": "laion5B"}, text="a boat")
    assert unknown["message"].startswith("There is no dataset")
