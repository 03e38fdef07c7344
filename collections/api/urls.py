"""The API of what belongs to a user."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
