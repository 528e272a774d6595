"""Refusing requests that do not come from the page itself: other sites can reach 127.0.0.1, too."""

import base64
import contextlib
import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)
_HEADERS = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "referrer-policy": "same-origin"}
_READING = ("GET", "HEAD")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address `host`."""
    return address.is_loopback if (address := _address(host)) else host == "localhost"


class Guard:
    """ASGI middleware that answers the page's own requests, of HTTP and websockets, and refuses all others.

    Args:
        app: what answers.
        host, port: the address that is served.
        password: what a browser has to know, under any name; None: nothing.
    """

    def __init__(self, app, host: str, port: int, password: str | None = None):
        self._app, self._host, self._port, self._password = app, host, port, password

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is None:
            return await self._app(scope, receive, _with_headers(send))
        if scope["type"] == "websocket":
            await receive()
            return await WebSocketClose(1008)(scope, receive, send)  # before it is accepted: a 403
        status, text = refusal
        headers = {"connection": "close"} | ({"www-authenticate": 'Basic realm="srgan-web"'} if status == 401 else {})
        await PlainTextResponse(text, status, headers)(scope, receive, send)

    def _refusal(self, scope):
        """Status and text of the refusal, or None."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) != 1 or not self._is_served(host):
            return 403, "srgan-web: this address is not served here"
        reads = scope["type"] == "http" and scope["method"] in _READING
        # A browser names the page that asks, but where that only reads from its own server.
        if origin != f"http://{host}" and (origin is not None or not reads):
            return 403, "srgan-web: only its own page may ask for this"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not (
            reads and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        ):
            return 403, "srgan-web: another site may not ask for this"
        if self._password is not None and not self._knows(headers.get("authorization", "")):
            return 401, "srgan-web: the password is missing or wrong"
        return None

    def _is_served(self, header):
        try:
            parts = urlsplit(f"//{header}")
            name, port = (parts.hostname or "").lower(), parts.port or 80
        except ValueError:
            return False
        if port != self._port or parts.username is not None or parts.path:
            return False
        if name in ("localhost", "127.0.0.1", "::1", self._host.lower()):
            return True
        # A name could be made to point here by another site (DNS rebinding), a number could not.
        return not is_loopback(self._host) and (bool(_address(name)) or name == socket.gethostname().lower())

    def _knows(self, authorization):
        try:
            given = base64.b64decode(authorization.removeprefix("Basic ")).partition(b":")[2]
        except ValueError:
            return False
        return secrets.compare_digest(given, self._password.encode())


def _address(name):
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name)


def _with_headers(send):
    async def sent(message):
        if message["type"] == "http.response.start":
            message = {"headers": [], **message}
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sent
