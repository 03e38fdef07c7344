"""Routes that accept repeated slashes: clip-front requests //knn-service."""

from django.urls import re_path

from .views import IndicesList, KnnService, Metadata

urlpatterns = [
    re_path(r"^[/]*indices-list/*$", IndicesList.as_view(), name="indices-list"),
    re_path(r"^[/]*knn-service/*$", KnnService.as_view(), name="knn-service"),
    re_path(r"^[/]*metadata/*$", Metadata.as_view(), name="metadata"),
]
