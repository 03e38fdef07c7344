from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from . import views

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("datasets/", views.DatasetList.as_view(), name="api-datasets"),
    path(
        "datasets/<slug:slug>/items/<int:item_id>/",
        views.ItemDetail.as_view(),
        name="api-item",
    ),
    re_path("^search/?$", views.Search.as_view(), name="api-search"),
    re_path("", views.Unknown.as_view()),
]
