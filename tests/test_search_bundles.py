"""Bundles of styles and scripts, compared with the files they are made of."""

import gzip
import re
from pathlib import Path

import pytest
from django.conf import settings

from search.web import bundles

STATIC = Path(settings.STATICFILES_DIRS[0])
MODULES = sorted(f"js/{path.name}" for path in (STATIC / "js").glob("*.js"))
STATEMENT = re.compile(r"^(import|export)\b", re.M)


@pytest.fixture
def get(client):
    return lambda address, **headers: client.get(address, headers=headers)


def test_every_module_can_be_bundled_with_what_it_imports(get):
    for name in MODULES:
        text = get(bundles.url("js", [name])).content.decode()
        assert not STATEMENT.search(text), name
        defined = re.findall(r"^define\('([^']+)'", text, re.M)
        assert defined[-1] == name
        for used in re.findall(r"^(?:const \{.*\} = )?use\('([^']+)'\)", text, re.M):
            assert used in defined
        assert len(set(defined)) == len(defined)


def test_a_bundle_is_cached_for_ever_under_its_version(get):
    address = bundles.url("css", ["css/site.css", "css/results.css"])
    plain, zipped = get(address), get(address, accept_encoding="gzip")
    parts = [STATIC / "css/site.css", STATIC / "css/results.css"]
    assert plain.content.decode() == "\n".join(part.read_text() for part in parts)
    assert gzip.decompress(zipped.content) == plain.content
    assert "immutable" in plain["Cache-Control"]
    other = get(re.sub(r"/bundle/\w+", "/bundle/0", address))
    assert other.content == plain.content and other["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "names",
    ["js/none.js", "../laionweb/settings.py", "css/site.css", "js/../js/dom.js", ""],
)
def test_nothing_else_is_bundled(get, names, db):
    assert get(f"/bundle/0.js?of={names}").status_code == 404
