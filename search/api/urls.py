from django.urls import path, re_path

from . import views

urlpatterns = [
    path("datasets/", views.DatasetList.as_view(), name="api-datasets"),
    path(
        "datasets/<slug:slug>/items/<int:item_id>/",
        views.ItemDetail.as_view(),
        name="api-item",
    ),
    re_path("^search/?$", views.Search.as_view(), name="api-search"),
    re_path("", views.Unknown.as_view()),
]
