"""Notices to those who started an import, until they have seen its end."""

from django.conf import settings
from django.db import models


class ImportNotice(models.Model):
    """A user who wants to know when a dataset's import ends or needs attention.

    `seen` and `mailed` are the phases of the import that the user has been told of.
    """

    dataset = models.ForeignKey(
        "Dataset", on_delete=models.CASCADE, related_name="notices"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    seen = models.CharField(max_length=10, blank=True, default="")
    mailed = models.CharField(max_length=10, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "user"], name="one_notice_per_user"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset}, {self.user}"
