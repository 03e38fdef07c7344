"""Monitoring learns what is wrong within a time limit, and strangers no more."""

import socket

import pytest
from django.core.checks import run_checks
from prometheus_client.parser import text_string_to_metric_families

from laionweb.version import VERSION
from search.clickhouse import client as engine
from search.encoder import local_encoder, openclip
from search.models import Dataset
from search.web import health_views

NAMES = ("database", "cache", "engine", "encoder", "items")
PARTS = dict.fromkeys(NAMES, True)
NOBODY = "redis://127.0.0.1:1/0"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def asked_anew():
    health_views._checked.clear()


@pytest.fixture
def loaded(postcards_dataset, monkeypatch):
    """The model is there, as it is after the first minute."""
    monkeypatch.setattr(
        health_views, "TIMEOUT_S", 20
    )  # on a machine with much else to do
    local_encoder(postcards_dataset.model, "").encode_texts(["loaded beforehand"])


def test_a_process_that_is_up_says_so_whatever_else_is_down(client, settings):
    settings.CELERY_BROKER_URL = NOBODY
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"up": True, "version": VERSION}
    assert "no-store" in response["Cache-Control"]


def test_all_parts_answer(client, loaded):
    response = client.get("/readyz")
    assert response.json() == {"ready": True, "parts": PARTS}
    assert response.status_code == 200


def test_a_part_that_is_down_is_named(client, loaded, settings):
    settings.SEARCH_ENCODER = "search.encoder.remote.CeleryEncoder"
    settings.CELERY_BROKER_URL = NOBODY
    response = client.get("/readyz")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    parts = PARTS | {"encoder": False, "broker": False}
    assert response.json() == {"ready": False, "parts": parts}


def test_a_pending_migration_is_not_ready(client, loaded, monkeypatch):
    health_views._is_migrated.cache_clear()
    plan = [("search", "0099_later")]
    monkeypatch.setattr(
        health_views.MigrationExecutor, "migration_plan", lambda *_: plan
    )
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"] == PARTS | {"database": False}


@pytest.mark.parametrize("answer", [[], [{"one": "1"}], [{"html": "Hello"}]])
def test_an_engine_that_answers_anything_is_not_ready(
    client, loaded, monkeypatch, answer
):
    monkeypatch.setattr(engine, "rows", lambda *_, **__: answer)
    assert client.get("/readyz").json()["parts"]["engine"] is False


def test_a_probe_loads_nothing(client, postcards_dataset, monkeypatch):
    Dataset.objects.create(slug="new", title="New", model="no-such-model")
    monkeypatch.setattr(openclip, "model_cache", openclip.ModelCache())

    def load(*_):
        raise AssertionError("A probe loads a model.")

    monkeypatch.setattr(openclip, "load", load)
    assert client.get("/readyz").json()["parts"]["encoder"] is True


def test_a_part_that_hangs_keeps_nobody(
    client, postcards_dataset, settings, monkeypatch
):
    monkeypatch.setattr(health_views, "TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections, and never says a word.
        port = silent.getsockname()[1]
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"redis://127.0.0.1:{port}",
            }
        }
        hanging = set()
        for _ in range(5):
            response = client.get("/readyz")
            assert (response.status_code, response.json()["ready"]) == (503, False)
            assert response.json()["parts"]["cache"] is False
            hanging.add(health_views._checked["cache"])
        # It hangs in one thread, and still does: nobody waited for its end.
        assert [job.done() for _, job in hanging] == [False]


def test_metrics_are_for_staff_and_for_the_addresses_named(
    client, settings, admin_client
):
    assert client.get("/metrics").status_code == 404
    assert admin_client.get("/metrics").status_code == 200
    settings.METRICS_ALLOWED = ["10.0.0.0/8"]
    assert client.get("/metrics").status_code == 404
    forged = client.get("/metrics", headers={"X-Forwarded-For": "10.1.2.3"})
    assert forged.status_code == 404
    assert client.get("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="").status_code == 404


def test_prometheus_is_told_how_long_and_how_much(client, postcards_dataset, settings):
    settings.METRICS_ALLOWED = ["127.0.0.1"]
    before = told(client)
    assert client.get("/api/search/?dataset=postcards&q=a+red+house").status_code == 200
    client.get("/no/such/address")
    after = told(client)

    def counted(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after[key] - before.get(key, 0)

    found = {"address": "api-search", "method": "GET", "status": "200"}
    assert counted("laionweb_request_seconds_count", **found) == 1
    lost = {"address": "other", "method": "GET", "status": "404"}
    assert counted("laionweb_request_seconds_count", **lost) == 1
    assert counted("laionweb_encode_seconds_count") == 1
    assert counted("laionweb_search_seconds_count") == 1
    dataset = frozenset({("dataset", "postcards")})
    assert after["laionweb_rows", dataset | {("state", "ingested")}] == 2_000
    assert after["laionweb_shards", dataset | {("state", "ingested")}] == 2
    assert after["laionweb_rows_without_index", dataset] == 0


def told(client) -> dict[tuple[str, frozenset], float]:
    families = text_string_to_metric_families(client.get("/metrics").content.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_do_without_an_engine_and_without_a_queue(
    client, postcards_dataset, settings, monkeypatch
):
    from search.errors import SearchUnavailable
    from search.retrieval import service

    def away(dataset):
        raise SearchUnavailable("The engine does not answer.")

    monkeypatch.setattr(service, "index_state", away)
    settings.METRICS_ALLOWED = ["127.0.0.1"]
    settings.CELERY_BROKER_URL = NOBODY
    names = {name for name, _ in told(client)}
    assert "laionweb_shards" in names
    assert not names & {"laionweb_parts_without_index", "laionweb_encode_workers"}


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("SEARCH_ENCODER", "search.encoder.remote.CeleryEncoder", "search.E001"),
        ("ENCODER_PRECISION", "int3", "search.E002"),
    ],
)
def test_settings_that_do_not_fit_are_told_before_the_start(
    settings, setting, value, error
):
    assert not [told for told in run_checks() if told.id.startswith("search.")]
    setattr(settings, setting, value)
    assert error in [told.id for told in run_checks()]
