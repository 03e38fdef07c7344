"""Help: a page, and the same text as a dialog of the other pages."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def help_text(request: HttpRequest) -> HttpResponse:
    """Render the page, or the dialog only if the URL has `dialog`."""
    in_dialog = "dialog" in request.GET
    return render(request, "help/dialog.html" if in_dialog else "help/page.html")
