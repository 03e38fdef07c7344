from django.apps import AppConfig


class CollectionsConfig(AppConfig):
    name = "usercollections"
    label = "collections"
    verbose_name = "Collections"
