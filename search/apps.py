from typing import Any

from django.apps import AppConfig


class SearchConfig(AppConfig):
    name = "search"

    def ready(self) -> None:
        from . import checks  # noqa: F401 (it registers them)
        from .models.signals import purging

        purging.connect(forget_thumbnails, dispatch_uid="search.thumbnails")


def forget_thumbnails(*, dataset: Any, **about: Any) -> None:
    from .thumbnails import service  # which takes a while to import

    service.forget(dataset)
