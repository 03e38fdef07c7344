from django.apps import AppConfig


class CollectionsConfig(AppConfig):
    name = "usercollections"
    label = "collections"
    verbose_name = "Collections"

    def ready(self) -> None:
        from search.query.concepts import found_by

        from .account import events  # noqa: F401
        from .concepts import find
        from .exporting import events as of_exports  # noqa: F401

        found_by(find)
