"""Connections of downloads: to public addresses, and to SOURCE_ALLOWED_HOSTS.

A redirect is a connection like any other. The address that is checked is the one that
is connected to, so that a name cannot have another one a moment later.
"""

import socket

import urllib3
from django.conf import settings
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
)

from search.errors import CannotFetch, ShardUnreadable
from search.fetch.connection import open_checked
from search.fetch.target import is_exempt

CONNECT_S = 10
REFUSED = (
    "{} has no public address. An admin allows servers of the own network in "
    "SOURCE_ALLOWED_HOSTS."
)


class _Checked(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Connect. Raises ShardUnreadable, or an error of urllib3."""
        host, port = self.host.strip("[]"), self.port or self.default_port
        allowed = is_exempt(host, port, settings.SOURCE_ALLOWED_HOSTS)
        try:
            return open_checked(host, port, CONNECT_S, allowed=allowed)
        except CannotFetch as error:
            raise ShardUnreadable(REFUSED.format(host)) from error
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{host} does not answer.") from error
        except OSError as error:
            raise NewConnectionError(self, f"{host} does not answer.") from error


class _CheckedTLS(_Checked, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Checked


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _CheckedTLS


class CheckedPools(urllib3.PoolManager):
    """A PoolManager whose connections are checked."""

    def __init__(self) -> None:
        super().__init__()
        self.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
