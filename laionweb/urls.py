from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from search.web import health_views

# The limits on guessing passwords are those of the site's own page.
admin.site.login = secure_admin_login(  # type: ignore[method-assign]
    admin.site.login
)

handler500 = "search.web.error_responses.server_error"
ICON = static("favicon.svg")
urlpatterns = [
    path("healthz", health_views.healthz, name="healthz"),
    path("readyz", health_views.readyz, name="readyz"),
    path("metrics", health_views.metrics, name="metrics"),
    path("", include("search.urls")),
    path("", include("usercollections.urls")),
    path("accounts/", include("allauth.urls")),
    path("api/", include("usercollections.api.urls")),
    path("api/", include("search.api.urls")),
    path("", include("search.clip_retrieval.urls")),
    path("postcards/", include("postcards.urls")),
    path("admin/", admin.site.urls),
    # Browsers ask for it on pages that name no icon, such as the admin's.
    path("favicon.ico", login_not_required(RedirectView.as_view(url=ICON))),
]
