"""The pages of what belongs to a user."""

from django.urls import include, path

urlpatterns = [
    path("", include("usercollections.collecting.urls")),
    path("", include("usercollections.saving.urls")),
    path("", include("usercollections.refining.urls")),
    path("", include("usercollections.exporting.urls")),
    path("", include("usercollections.account.urls")),
]
