"""The account page: history, API tokens, data export, and deleting the account."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.core import ratelimit
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from search.rate_limits import limited

from ..models import Token
from .data_export import export_account
from .forms import DeletionForm, TokenForm
from .services import (
    LastSuperuser,
    counts,
    delete_account,
    is_last_superuser,
    keeps_history,
    set_keeps_history,
)
from .tokens import make_token, revoke


@require_safe
@login_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
@login_required
@never_cache
def make(request: HttpRequest) -> HttpResponse:
    """Create a token. The response with its secret is not cached."""
    form = TokenForm(request.POST, user=request.user)
    if not form.is_valid():
        return _page(request, status=400, token_form=form)
    name = form.cleaned_data["name"]
    secret = make_token(request.user, name, form.lifetime)
    return _page(request, secret=secret, secret_name=name)


@require_POST
@login_required
def revoke_token(request: HttpRequest, token: str) -> HttpResponse:
    found = get_object_or_404(Token.objects.owned_by(request.user), pk=token)
    revoke(found)
    messages.success(request, f"The token “{found.name}” no longer works.")
    return redirect("account")


@require_POST
@login_required
def history(request: HttpRequest) -> HttpResponse:
    keeps = request.POST.get("keeps") == "yes"
    set_keeps_history(request.user, keeps)
    text = "on" if keeps else "off"
    messages.success(request, f"History is {text}.")
    return redirect("account")


@require_safe
@login_required
@limited("export")
@never_cache
def export(request: HttpRequest) -> StreamingHttpResponse:
    response = StreamingHttpResponse(
        export_account(request.user), content_type="application/zip"
    )
    name = f"laionweb-{timezone.now():%Y-%m-%d}.zip"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def delete(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _deletion(request, DeletionForm(user=request.user))
    form = DeletionForm(request.POST, user=request.user)
    # The limit of allauth's reauthentication, which asks for the password, too.
    refused = ratelimit.consume_or_429(
        request, action="reauthenticate", user=request.user
    )
    if refused:
        return refused
    if not form.is_valid():
        return _deletion(request, form, status=400)
    try:
        delete_account(request.user)
    except LastSuperuser:
        return _deletion(request, form, status=409)
    logout(request)
    messages.success(request, "Your account and its data were deleted.")
    return redirect("search")


def _page(request: HttpRequest, status: int = 200, **more: Any) -> HttpResponse:
    context = {
        "tokens": Token.objects.owned_by(request.user),
        "token_form": TokenForm(user=request.user),
        "keeps_history": keeps_history(request.user),
        "address": EmailAddress.objects.filter(user=request.user)
        .order_by("-primary")
        .first(),
    }
    return render(request, "account_page/account.html", context | more, status=status)


def _deletion(
    request: HttpRequest, form: DeletionForm, status: int = 200
) -> HttpResponse:
    context = {
        "form": form,
        "counts": list(counts(request.user)),
        "is_last": is_last_superuser(request.user),
    }
    return render(request, "account_page/delete.html", context, status=status)
