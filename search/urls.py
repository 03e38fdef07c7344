from django.urls import path

from . import dataset_page, views

urlpatterns = [
    path("", views.search, name="search"),
    path("search/picture", views.search_by_picture, name="search-by-picture"),
    path("d/<slug:slug>/", dataset_page.dataset, name="dataset"),
    path("d/<slug:slug>/<int:item_id>", views.item, name="item"),
]
