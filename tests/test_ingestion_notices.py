"""Notices to who started an import, and previews of what it has left out."""

import pytest
from django.contrib.auth.models import User
from django.core import mail
from support.tiny_shards import tiny_dataset, write_shard
from test_ingestion_zip import image

from search.ingestion import notices, tasks
from search.models import Dataset, ImportNotice, Reject, Shard
from search.removals.takedowns import REJECT_REASON

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_datasets")]
State = Shard.State
PAGE = "/datasets/"
BANNER = 'class="import-notice '


@pytest.fixture
def dataset(tmp_path, settings, monkeypatch) -> Dataset:
    """Two shards that nobody has started."""
    settings.INGEST_FOLDERS = [str(tmp_path)]
    monkeypatch.setattr(tasks.ingest_shard, "delay", lambda *_: None)
    for number in range(2):
        write_shard(tmp_path, number)
    return tiny_dataset(tmp_path, title="<b>Boats</b>")


@pytest.fixture
def started(admin_client, dataset) -> Dataset:
    admin_client.post(f"/ingestion/{dataset.slug}/steer", {"action": "start"})
    return dataset


def end(dataset: Dataset, state: str, error: str = "") -> None:
    dataset.shards.update(state=state, error=error, rows_visible=20, rows=20)


def banner(client, path: str = PAGE) -> str:
    page = client.get(path).content.decode()
    return page.partition(BANNER)[2].partition("</form>")[0]


def test_who_started_an_import_is_told_of_its_end(admin_client, client, started):
    assert not banner(admin_client)  # it is running
    end(started, State.INGESTED)
    told = banner(admin_client)
    assert "&lt;b&gt;Boats&lt;/b&gt;" in told and "Done: 40 images" in told
    assert banner(admin_client, "/?dataset=tiny")
    assert not banner(admin_client, f"/ingestion/{started.slug}/")  # which says it
    other = User.objects.create(username="eve", is_staff=True, is_superuser=True)
    client.force_login(other)
    assert not banner(client)
    notices.send_mails()
    assert not ImportNotice.objects.exists()  # its page was seen


def test_a_notice_is_dismissed_and_comes_back_with_another_state(admin_client, started):
    end(started, State.FAILED, "The disk is full.")
    assert "See what is wrong" in banner(admin_client)
    seen = f"/ingestion/{started.slug}/seen"
    answer = admin_client.post(seen, {"back": "/collections/"})
    assert answer["Location"] == "/collections/"
    answer = admin_client.post(seen, {"back": "//evil.example/"})
    assert answer["Location"] == PAGE
    assert not banner(admin_client)
    end(started, State.INGESTED)
    assert "Done" in banner(admin_client)
    started.deleted_at = started.created_at
    started.save()
    assert not banner(admin_client)


def test_a_mail_is_sent_once_for_each_state(admin_client, admin_user, started):
    assert notices.send_mails() == 0
    User.objects.filter(pk=admin_user.pk).update(email="ada@example.org")
    end(started, State.FAILED, "The disk is full.")
    assert [notices.send_mails() for _ in range(2)] == [1, 0]
    end(started, State.INGESTED)
    assert [notices.send_mails() for _ in range(2)] == [1, 0]
    first, last = mail.outbox
    assert first.to == ["ada@example.org"] and "The disk is full." in first.body
    assert first.subject == "The import of <b>Boats</b> needs attention"
    assert last.subject == "The import of <b>Boats</b> is done"
    assert "Done: 40 images." in last.body
    assert banner(admin_client)


def test_mails_that_would_be_printed_are_not_sent(admin_user, started, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    User.objects.filter(pk=admin_user.pk).update(email="ada@example.org")
    end(started, State.INGESTED)
    assert notices.send_mails() == 0


def test_what_was_left_out_is_listed_and_seen(
    admin_client, client, tmp_path, settings, processes
):
    settings.INGEST_FOLDERS = [str(tmp_path)]
    (tmp_path / "good.jpg").write_bytes(image(1))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    dataset = Dataset.objects.create(
        slug="mine", title="Mine", kind="images", source=str(tmp_path)
    )
    shard = Shard.objects.create(dataset=dataset, number=0, state=State.INGESTED)
    reasons = {
        "good.jpg": "The JSON beside it cannot be read.",
        "bad.jpg": "It is damaged.",
        "gone.jpg": "It is damaged.",
        "../secret": "It is damaged.",
    }
    rows = [
        Reject.objects.create(shard=shard, row=row, file=name, reason=reason)
        for row, (name, reason) in enumerate(reasons.items())
    ]
    page = admin_client.get("/ingestion/mine/").content.decode()
    assert all(f"<bdi>{name}</bdi>" in page for name in reasons)
    images = [f"/ingestion/mine/rejects/{row.pk}.webp" for row in rows]
    answers = [admin_client.get(each) for each in images]
    kinds = [each["Content-Type"] for each in answers]
    assert kinds == ["image/webp", *["image/gif"] * 3]  # of one pixel
    assert answers[0].content[8:12] == b"WEBP"
    Reject.objects.filter(pk=rows[0].pk).update(reason=REJECT_REASON)
    assert admin_client.get(images[0])["Content-Type"] == "image/gif"
    assert client.get(images[0]).status_code == 302
