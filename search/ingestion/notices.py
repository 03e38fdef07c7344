"""Notices to who started an import: on their pages, and by mail where there is one."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from search.models import Dataset, ImportNotice

from .status import Phase, Remedy, Status, status_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Notice:
    """An import that has ended, or that needs somebody."""

    dataset: Dataset
    status: Status


def subscribe(dataset: Dataset, user: Any) -> None:
    """Tell a user when the import that now begins ends or needs attention."""
    if user.is_authenticated:
        ImportNotice.objects.update_or_create(
            dataset=dataset, user=user, defaults={"seen": "", "mailed": ""}
        )


def is_told(status: Status) -> bool:
    """Return whether a status is one to tell of."""
    if status.phase == Phase.BLOCKED:
        return status.remedy != Remedy.WAIT
    return status.phase in (Phase.DONE, Phase.FAILED)


def notices_for(user: Any) -> list[Notice]:
    """Return what a user was not told of yet."""
    notices = ImportNotice.objects.filter(user=user, dataset__deleted_at=None)
    found = notices.select_related("dataset")
    statuses = [(each, status_of(each.dataset)) for each in found]
    return [
        Notice(each.dataset, status)
        for each, status in statuses
        if is_told(status) and each.seen != status.phase
    ]


def mark_seen(dataset: Dataset, user: Any, status: Status) -> None:
    """Note that a user has seen a status; nothing follows the end of an import."""
    if not is_told(status):
        return
    notices = ImportNotice.objects.filter(dataset=dataset, user=user)
    if status.phase == Phase.DONE:
        notices.filter(mailed=status.phase).delete()
    notices.update(seen=status.phase)


def send_mails() -> int:
    """Send the mails that are due; return how many.

    Each is tried once: the page tells of it as well.
    """
    sent = 0
    for notice, status in _unmailed():
        ImportNotice.objects.filter(pk=notice.pk).update(mailed=status.phase)
        if _has_mail(notice.user) and notice.seen != status.phase:
            sent += _send(notice, status)
        elif status.phase == Phase.DONE and notice.seen == status.phase:
            notice.delete()
    return sent


def _unmailed() -> Iterator[tuple[ImportNotice, Status]]:
    found = ImportNotice.objects.filter(dataset__deleted_at=None)
    for notice in found.select_related("dataset", "user"):
        if notice.mailed == Phase.DONE:
            continue
        status = status_of(notice.dataset)
        if is_told(status) and notice.mailed != status.phase:
            yield notice, status


def _has_mail(user: Any) -> bool:
    is_printed = settings.EMAIL_BACKEND.endswith(".console.EmailBackend")
    return bool(user.email) and user.is_active and not is_printed


def _send(notice: ImportNotice, status: Status) -> bool:
    context = {"dataset": notice.dataset, "status": status}
    subject, _, text = render_to_string("adding/mail.txt", context).partition("\n")
    try:
        send_mail(subject, text.strip(), None, [notice.user.email])
    except (SMTPException, OSError):
        logger.exception("The mail on the import of %s is not sent", notice.dataset)
        return False
    return True
