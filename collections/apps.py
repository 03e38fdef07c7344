from django.apps import AppConfig


class CollectionsConfig(AppConfig):
    name = "usercollections"
    label = "collections"
    verbose_name = "Collections"

    def ready(self) -> None:
        from search.concepts import found_by

        from .account import events  # noqa: F401
        from .concepts import find

        found_by(find)
