from django.urls import path

from . import views

urlpatterns = [
    path("account/", views.account, name="account"),
    path("account/history", views.history, name="account-history"),
    path("account/tokens", views.make, name="account-tokens"),
    path(
        "account/tokens/<uuid:token>/revoke",
        views.revoke_token,
        name="account-token-revoke",
    ),
    path("account/export", views.export, name="account-export"),
    path("account/delete", views.delete, name="account-delete"),
]
