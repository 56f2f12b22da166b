"""Whom the service listens to: one rule for strangers' pages, for names that it is called by, and for the key."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
from urllib.parse import SplitResult, urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import Scope

from monolayer.service.state import Settings

OPEN = ("/", "/health", "/ready", "/openapi.json")  # and /web/: they hold nothing of the operator's
SAME = ("same-origin", "none")  # of Sec-Fetch-Site: the service's own page, or a person's address bar


def check(scope: Scope, settings: Settings) -> None:
    """Refuse a request under a name that is not ours, from another site's page, or without the key."""
    headers, path = Headers(scope=scope), scope["path"]
    host = headers.get("host")
    if host is not None and not _ours(host, settings):  # no browser leaves it out
        told = f"this service is not known as {host[:100]}; start it with --allow-host NAME, or use its address"
        raise HTTPException(421, told)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    asking = _split(origin or "")
    foreign = site not in SAME if origin is None else asking.netloc != host
    visit = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"  # a link from another site
    if foreign and not visit and not _named(asking.hostname, settings):
        raise HTTPException(403, "a page of another site asks; if it may, start the service with --allow-host")
    if settings.key is None or path in OPEN or path.startswith("/web/"):
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
    # in a time that does not depend on the key
    if not secrets.compare_digest(given.encode("latin-1"), settings.key.encode()):  # as headers come
        raise HTTPException(401, "give the API key as X-API-Key", {"WWW-Authenticate": "Bearer"})


def _split(address: str) -> SplitResult:
    """The parts of an address; a malformed one has none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _named(host: str | None, settings: Settings) -> bool:
    return (host or "").lower().removesuffix(".") in {name.lower() for name in settings.hosts}


def _ours(host: str, settings: Settings) -> bool:
    """Whether a Host header is an address, which no stranger's name can stand for, or a name of this service."""
    name = _split(f"//{host}").hostname or ""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return name in ("localhost", socket.gethostname().lower()) or _named(name, settings)
