from django.urls import path

from .views import postcard

urlpatterns = [path("<int:postcard_id>.jpg", postcard, name="postcard")]
