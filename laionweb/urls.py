from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("search.urls")),
    path("api/", include("search.api.urls")),
    path("postcards/", include("postcards.urls")),
    path("admin/", admin.site.urls),
]
