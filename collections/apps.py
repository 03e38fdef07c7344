from django.apps import AppConfig


class CollectionsConfig(AppConfig):
    name = "usercollections"
    label = "collections"
    verbose_name = "Collections"

    def ready(self) -> None:
        from search.query.concepts import set_lookup

        from . import dataset_signals  # noqa: F401
        from .account import signals  # noqa: F401
        from .concept_lookup import find
        from .export import signals as export_signals  # noqa: F401

        set_lookup(find)
