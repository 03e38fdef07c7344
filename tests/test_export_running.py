"""Runs of exports: leased once, resumed, stopped, and swept."""

import errno
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from support.collection_helpers import collection

from search.clickhouse import client
from search.errors import InvalidQuery, NotFound, SearchUnavailable
from search.jobs import broker
from search.jobs.leases import MAX_FAILURES
from search.models import SYSTEM
from usercollections.account.services import delete_account
from usercollections.export import (
    export_request,
    job,
    services,
    storage,
    sweeper,
    tasks,
    writer,
)
from usercollections.models import Export

pytestmark = pytest.mark.django_db
State = Export.State
AWAY = SearchUnavailable("The search engine did not answer.")


class Killed(BaseException):
    """Ends a run like a kill: nothing more is written."""


@pytest.fixture(autouse=True)
def small(settings, tmp_path, monkeypatch, postcards_dataset):
    """Parts of 400 rows, in a folder of this test's own."""
    settings.EXPORT_DIR = tmp_path / "exports"
    monkeypatch.setattr(writer, "PART_ROWS", 400)
    monkeypatch.setattr(writer, "MAX_AT_ONCE", 200)


@pytest.fixture(autouse=True)
def sent(monkeypatch) -> list[str]:
    """The exports that messages were sent for."""
    keys: list[str] = []
    monkeypatch.setattr(tasks.write_export, "delay", keys.append)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    return keys


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def queued(ada, monkeypatch) -> Export:
    """One of all 2,000 postcards."""
    monkeypatch.setattr(services, "SMALL", 1_999)
    return services.start(
        ada, export_request.of_dataset(SYSTEM, "postcards", form="parquet")
    )


def refreshed(export: Export) -> Export:
    export.refresh_from_db()
    return export


def folder(export: Export) -> Path:
    return storage.folder_of(export.pk) / str(refreshed(export).attempts)


def at_rows(monkeypatch, rows: int, act) -> None:
    """Schedule an action for the first time that so many rows are written."""
    report = job.ExportJob._report

    def report_and_act(self, progress):
        report(self, progress)
        if progress.rows >= rows:
            monkeypatch.setattr(job.ExportJob, "_report", report)
            act()

    monkeypatch.setattr(job.ExportJob, "_report", report_and_act)


def raising(error: BaseException):
    def act(*_, **__):
        raise error

    return act


def ids_in(export: Export) -> list[int]:
    parts = [
        folder(export) / file["name"] for file in storage.listed(refreshed(export))
    ]
    return [key for part in parts for key in pq.read_table(part)["id"].to_pylist()]


def expire_lease(export: Export) -> None:
    """Let the lease expire, as half a minute after a worker's death."""
    Export.objects.filter(pk=export.pk).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


# --- To the end


def test_a_large_one_waits_for_a_worker_and_is_then_done(queued, sent, settings):
    assert (queued.state, sent) == (State.QUEUED, [str(queued.pk)])
    tasks.write_export(sent[0])
    done = refreshed(queued)
    assert (done.state, done.error, done.failures) == (State.DONE, "", 0)
    assert (done.rows, done.looked_at, done.to_look_at) == (2_000, 2_000, 2_000)
    assert len(set(ids_in(queued))) == 2_000
    on_disk = sum(
        (folder(done) / file["name"]).stat().st_size for file in storage.listed(done)
    )
    assert done.bytes == on_disk > 0
    left = done.expires_at - timezone.now()
    assert timedelta(days=6) < left <= timedelta(days=settings.EXPORT_DAYS)
    assert not job.run(queued.pk), "a message that comes twice does nothing"
    assert refreshed(queued).attempts == 1


def test_a_small_one_is_done_when_it_is_asked_for(ada, sent):
    boats = collection(ada, 1, 2, 3)
    export = services.start(ada, export_request.of_collection(ada, boats.pk, "csv"))
    assert (export.state, export.rows, sent) == (State.DONE, 3, [])


def test_a_small_one_waits_where_the_engine_is_away(ada, sent, monkeypatch):
    boats = collection(ada, 1, 2, 3)
    monkeypatch.setattr(client, "ping", raising(AWAY))
    export = services.start(ada, export_request.of_collection(ada, boats.pk, "csv"))
    assert (export.state, export.error) == (State.QUEUED, AWAY.message)
    assert (export.attempts, export.failures) == (0, 0)
    monkeypatch.undo()


# --- Broken off


def test_a_run_whose_worker_was_killed_is_gone_on_with(queued, monkeypatch, sent):
    at_rows(monkeypatch, 1_000, raising(Killed()))
    with pytest.raises(Killed):
        job.run(queued.pk)
    broken = refreshed(queued)
    assert (broken.state, broken.rows) == (State.RUNNING, 1_000)
    assert not job.run(queued.pk), "another worker holds it"
    assert sweeper.recover() == 0

    expire_lease(queued)
    finished = {path.name: path.stat().st_mtime_ns for path in folder(queued).iterdir()}
    parts = [name for name in finished if name.endswith(".parquet")]
    assert len(parts) == 2
    sent.clear()
    assert sweeper.recover() == 1 and sent == [str(queued.pk)]
    tasks.write_export(sent[0])
    assert (refreshed(queued).state, queued.attempts) == (State.DONE, 2)
    assert sorted(set(ids_in(queued))) == sorted(ids_in(queued))
    assert queued.rows == 2_000
    for name in parts:
        assert (folder(queued) / name).stat().st_mtime_ns == finished[name]
    assert storage.attempts(queued.pk) == [2]


def test_a_worker_thought_dead_writes_where_nobody_looks(queued, monkeypatch):
    """It continues once another has finished its work."""

    def overtaken():
        expire_lease(queued)
        assert job.run(queued.pk)

    at_rows(monkeypatch, 1_000, overtaken)
    assert not job.run(queued.pk)
    assert (refreshed(queued).state, queued.attempts) == (State.DONE, 2)
    assert len(set(ids_in(queued))) == len(ids_in(queued)) == 2_000
    for file in storage.listed(queued):
        part = pq.read_table(folder(queued) / file["name"])
        assert part.num_rows == file["rows"]


def test_an_engine_that_goes_away_is_waited_for(queued, monkeypatch, sent):
    at_rows(monkeypatch, 1_000, raising(AWAY))
    with pytest.raises(SearchUnavailable):
        job.run(queued.pk)
    assert (refreshed(queued).state, queued.error) == (State.QUEUED, AWAY.message)
    assert queued.lease_until is None
    sent.clear()
    sweeper.recover()
    assert sent == [str(queued.pk)]
    tasks.write_export(sent[0])
    assert (refreshed(queued).state, queued.error) == (State.DONE, "")


def test_what_breaks_off_again_and_again_is_given_up(queued, monkeypatch):
    monkeypatch.setattr(job, "write", raising(Killed()))
    for _ in range(MAX_FAILURES):
        with pytest.raises(Killed):
            job.run(queued.pk)
        expire_lease(queued)
    assert job.run(queued.pk)
    assert refreshed(queued).state == State.FAILED
    assert queued.error.startswith("It broke off 5 times in a row")
    assert not storage.folder_of(queued.pk).exists()


def test_getting_on_forgives_what_broke_off_before(queued, monkeypatch):
    Export.objects.filter(pk=queued.pk).update(failures=MAX_FAILURES - 1)
    at_rows(monkeypatch, 600, raising(Killed()))
    with pytest.raises(Killed):
        job.run(queued.pk)
    assert refreshed(queued).failures == 0


# --- Failed


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), job.NO_SPACE),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), job.NO_SPACE),
        (NotFound("The collection is gone."), "The collection is gone."),
        (InvalidQuery("That is no more."), "That is no more."),
        (ZeroDivisionError(), "The server log has the details"),
    ],
    ids=["disk", "quota", "gone", "invalid", "bug"],
)
def test_what_cannot_be_written_fails_with_its_sentence(
    queued, monkeypatch, error, sentence
):
    at_rows(monkeypatch, 1_000, raising(error))
    assert job.run(queued.pk)
    failed = refreshed(queued)
    assert failed.state == State.FAILED and sentence in failed.error
    assert failed.finished_at and failed.lease_until is None
    assert not storage.folder_of(queued.pk).exists()


def test_a_disk_is_not_filled_to_the_last_byte(queued, monkeypatch):
    monkeypatch.setattr(job, "MIN_FREE", 2**60)
    assert job.run(queued.pk)
    assert (refreshed(queued).state, queued.error) == (State.FAILED, job.NO_SPACE)


def test_a_dataset_that_was_dropped_meanwhile_is_told(queued):
    request = {**queued.asked, "what": {**queued.asked["what"], "dataset": "gone"}}
    Export.objects.filter(pk=queued.pk).update(asked=request)
    job.run(queued.pk)
    assert refreshed(queued).state == State.FAILED
    assert queued.error == "There is no dataset named “gone”."


def test_a_collection_that_was_deleted_meanwhile_is_told(ada, monkeypatch):
    monkeypatch.setattr(services, "SMALL", -1)
    boats = collection(ada, 1, 2, 3)
    export = services.start(ada, export_request.of_collection(ada, boats.pk, "csv"))
    boats.delete()
    job.run(export.pk)
    assert refreshed(export).state == State.FAILED
    assert "no such collection" in export.error


# --- Stopped


def test_cancelling_stops_it_at_the_next_batch(ada, queued, monkeypatch):
    at_rows(monkeypatch, 1_000, lambda: services.cancel(ada, queued.pk))
    assert not job.run(queued.pk)
    assert (refreshed(queued).state, queued.rows) == (State.CANCELLED, 1_000)
    assert not storage.folder_of(queued.pk).exists()
    with pytest.raises(InvalidQuery, match="already ended"):
        services.cancel(ada, queued.pk)


def test_deleting_a_running_one_stops_it(
    ada, queued, monkeypatch, django_capture_on_commit_callbacks
):
    def delete():
        with django_capture_on_commit_callbacks(execute=True):
            services.delete(ada, queued.pk)

    at_rows(monkeypatch, 1_000, delete)
    assert not job.run(queued.pk)
    assert not Export.objects.exists()
    assert not storage.folder_of(queued.pk).exists()


def test_one_that_ended_without_files_can_be_made_again(ada, queued, sent):
    services.cancel(ada, queued.pk)
    sent.clear()
    again = services.restart(ada, queued.pk)
    assert (again.state, again.rows, again.error) == (State.QUEUED, 0, "")
    assert sent == [str(queued.pk)]
    tasks.write_export(sent[0])
    assert refreshed(queued).state == State.DONE
    with pytest.raises(InvalidQuery, match="is complete or running"):
        services.restart(ada, queued.pk)


def test_who_makes_it_again_twice_has_the_files_of_the_first(ada, monkeypatch):
    """Both requests start before either has written."""
    export = services.start(
        ada, export_request.of_dataset(SYSTEM, "postcards", form="csv")
    )
    Export.objects.filter(pk=export.pk).update(state=State.EXPIRED)
    most_rows, requests = services.max_rows, []

    def at_the_same_moment(wanted, user):
        if not requests:
            requests.append(1)
            assert services.restart(ada, export.pk).state == State.DONE
        return most_rows(wanted, user)

    monkeypatch.setattr(services, "max_rows", at_the_same_moment)
    assert services.restart(ada, export.pk).state == State.DONE
    for file in storage.listed(refreshed(export)):
        assert (folder(export) / file["name"]).exists()


def test_the_files_go_with_the_export_and_with_the_account(
    ada, queued, django_capture_on_commit_callbacks
):
    job.run(queued.pk)
    boats = collection(ada, 1, 2)
    small = services.start(ada, export_request.of_collection(ada, boats.pk, "json"))
    assert folder(queued).exists() and folder(small).exists()
    with django_capture_on_commit_callbacks(execute=True):
        services.delete(ada, queued.pk)
    assert not storage.folder_of(queued.pk).exists()
    assert folder(small).exists()
    with django_capture_on_commit_callbacks(execute=True):
        delete_account(ada)
    assert not storage.folder_of(small.pk).exists()


# --- Swept away


def test_files_are_deleted_when_they_expire_and_the_row_later(queued):
    job.run(queued.pk)
    assert sweeper.delete_expired() == 0
    assert folder(queued).exists()
    past = timezone.now() - timedelta(seconds=1)
    Export.objects.update(expires_at=past)
    assert sweeper.delete_expired() == 0
    assert refreshed(queued).state == State.EXPIRED
    assert not storage.folder_of(queued.pk).exists()
    assert storage.listed(queued) == []
    Export.objects.update(finished_at=past - sweeper.ROW_RETENTION)
    assert sweeper.delete_expired() == 1
    assert not Export.objects.exists()


def test_folders_without_an_export_are_deleted_and_others_left(queued, settings):
    job.run(queued.pk)
    stray = settings.EXPORT_DIR / "00000000-0000-4000-8000-000000000000"
    theirs = settings.EXPORT_DIR / "lost+found"
    for path in (stray, theirs):
        path.mkdir()
        (path / "a").write_text("a")
    sweeper.delete_expired()
    assert folder(queued).exists() and theirs.exists()
    assert not stray.exists()


def test_the_sweeper_sends_what_is_queued_only_when_no_message_waits(
    queued, sent, monkeypatch
):
    sent.clear()
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: False)
    assert sweeper.recover() == 0
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    assert sweeper.recover() == 1 and sent == [str(queued.pk)]


# --- As many as one may have


def test_a_user_has_a_few_at_work_at_once(ada, queued):
    wanted = export_request.of_dataset(SYSTEM, "postcards", form="csv")
    for _ in range(services.MAX_AT_WORK - 1):
        services.start(ada, wanted)
    with pytest.raises(InvalidQuery, match="4 of your exports are running"):
        services.start(ada, wanted)
    services.start(User.objects.create_user("bo"), wanted)
    services.cancel(ada, queued.pk)
    services.start(ada, wanted)


def test_of_too_many_the_oldest_without_files_makes_room(ada, monkeypatch):
    monkeypatch.setattr(services, "MAX_STORED", 2)
    boats = collection(ada, 1)
    wanted = export_request.of_collection(ada, boats.pk, "csv")
    first, second = (services.start(ada, wanted) for _ in range(2))
    with pytest.raises(InvalidQuery, match="You have 2 exports"):
        services.start(ada, wanted)
    Export.objects.filter(pk=first.pk).update(state=State.EXPIRED)
    third = services.start(ada, wanted)
    remaining = set(Export.objects.values_list("pk", flat=True))
    assert remaining == {second.pk, third.pk}


def test_a_claim_that_is_lost_is_never_mistaken_for_a_failure(queued, monkeypatch):
    """Its files disappear before it finds out that it was stopped."""

    def stop():
        Export.objects.filter(pk=queued.pk).update(state=State.CANCELLED)
        storage.remove(queued.pk)
        raise FileNotFoundError("its folder")

    at_rows(monkeypatch, 1_000, stop)
    assert not job.run(queued.pk)
    assert (refreshed(queued).state, queued.error) == (State.CANCELLED, "")
