from django.urls import include, path

from . import history_views, views

of_one = [
    path("glance", views.preview, name="glance"),
    path("rename", views.rename, name="rename-search"),
    path("change", views.change, name="change-search"),
    path("move", views.move, name="move-search"),
    path("delete", views.delete, name="delete-search"),
]
of_history = [
    path("", history_views.record_search, name="search-made"),
    path("clear", history_views.clear, name="clear-history"),
    path("keep", history_views.keep, name="keep-history"),
    path("restore", history_views.restore, name="restore-history"),
    path("<uuid:key>/delete", history_views.delete, name="delete-history"),
]

urlpatterns = [
    path(
        "searches/",
        include(
            [
                path("", views.searches, name="saved-searches"),
                path("save", views.save, name="save-search"),
                path("restore", views.restore, name="restore-search"),
                path("history/", include(of_history)),
                path("<uuid:key>/", include(of_one)),
            ]
        ),
    )
]
