from django.urls import path

from .views import picture

urlpatterns = [path("<int:postcard_id>.jpg", picture, name="postcard")]
