"""The check of request headers: requests of the page itself and of scripts pass, those of other web pages are refused.

A browser lets any web page send requests to any address, so the server checks their source:

- ``Host`` is the name by which the browser reaches the server. Another name that resolves to this machine (DNS
  rebinding) is refused. An IP address cannot be rebound.
- ``Origin`` is the page that sends the request. It must be this server. Scripts such as curl and gradio_client send
  none.
- ``Sec-Fetch-Site`` is checked as well, since a browser may send no ``Origin``. Another site may only link to the page.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mobilesam.errors import InputError, sentence

_MISDIRECTED = 421  # the status for a Host that is not this server's
_FORBIDDEN = 403


@dataclass(frozen=True)
class Hosts:
    """The names by which the server is reached.

    loopback: whether it listens on this machine only, so that other names are refused. allowed: more names, in lower
    case, such as that of a proxy.
    """

    loopback: bool
    allowed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, address: str, allowed: Iterable[str] = ()) -> Hosts:
        """Return the names for the IP address of the server and the values of ``--allow-host``.

        Raises:
            InputError: a value is not a host name.
        """
        return cls(ipaddress.ip_address(address).is_loopback, frozenset(map(checked_name, allowed)))

    def refusal(self, host: str) -> str:
        """Return the message that refuses a ``Host``, or ""."""
        if not self.loopback and not self.allowed:
            return ""
        name = name_of(host)
        if _is_local(name) or name in self.allowed or (not self.loopback and _address(name)):
            return ""
        names = ", ".join(sorted({"localhost", *self.allowed}))
        remedy = "to use this name, start the server with --allow-host"
        return sentence("Host", f"be {names} or this server's IP address", repr(host), remedy)


def checked_name(name: str) -> str:
    """Return a host name or an IP address in the form of :func:`name_of`.

    Raises:
        InputError: it is neither.
    """
    if _address(name.strip("[]")):
        return name.strip("[]").lower()
    try:
        encoded = name.encode("idna").decode("ascii").lower()  # as browsers send it
    except UnicodeError:
        encoded = ""
    if not all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", label) for label in encoded.split(".")):
        remedy = "leave out scheme and port, as in demo.example"
        raise InputError(sentence("--allow-host", "be a host name", repr(name), remedy))
    return encoded


def name_of(host: str) -> str:
    """Return the name in ``NAME:PORT`` in lower case, without the brackets of IPv6, or "" for another form."""
    try:
        parts = urlsplit(f"//{host}")
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == host else ""


def refusal(scope: Scope, hosts: Hosts) -> tuple[int, str] | None:
    """Return the status and the message that refuse a request, or None."""
    headers = Headers(scope=scope)
    host, origin, site = headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site", "none")
    if message := hosts.refusal(host):
        return _MISDIRECTED, message
    if origin is not None and not _same_origin(origin, host, hosts):
        remedy = "open the page itself; for a proxy, start the server with --allow-host"
        return _FORBIDDEN, sentence("Origin", f"be this server, {host}", repr(origin), remedy)
    if site not in ("same-origin", "none") and not _opens_the_page(scope, headers):
        return _FORBIDDEN, sentence("Sec-Fetch-Site", "be same-origin", repr(site), "open the page itself")
    return None


class Guard:
    """ASGI middleware that refuses requests before the application runs; see :func:`refusal`."""

    def __init__(self, app: ASGIApp, hosts: Hosts, respond: Callable[[int, str], Response] | None = None) -> None:
        self._app = app
        self._hosts = hosts
        self._respond = respond or (lambda status, text: JSONResponse({"error": text, "expired": False}, status))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = refusal(scope, self._hosts) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            status, text = refused
            await self._respond(status, text)(scope, receive, send)


def _same_origin(origin: str, host: str, hosts: Hosts) -> bool:
    """Return whether a page is from this server; a proxy in between may use TLS or change the ``Host``."""
    scheme, _, address = origin.lower().partition("://")
    if scheme not in ("http", "https") or not address:
        return False
    name = name_of(address)
    return address == host.lower() or (name in hosts.allowed and not _is_local(name))


def _opens_the_page(scope: Scope, headers: Headers) -> bool:
    """Return whether a request follows a link to the page, which is safe: the other site cannot read the response."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and scope["path"] == "/"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _is_local(name: str) -> bool:
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
