"""The URLs of pages of what belongs to a user."""

from django.urls import include, path

from .palette_views import palette
from .suggestion_views import suggest

urlpatterns = [
    path("palette", palette, name="palette"),
    path("suggest", suggest, name="suggest"),
    path("", include("usercollections.collection.urls")),
    path("", include("usercollections.saved_search.urls")),
    path("", include("usercollections.concept.urls")),
    path("", include("usercollections.export.urls")),
    path("", include("usercollections.account.urls")),
]
