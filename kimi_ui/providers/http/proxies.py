"""Proxies and certificates, as the environment names them. A mistake there becomes a ``ProviderError``."""

from __future__ import annotations

import os
import ssl
import sys
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpcore
import httpx
import truststore

from ...core.events import Failure
from ...core.loopback import is_loopback
from ..base import ProviderError


def proxy_for(url: str) -> str | None:
    """The proxy the environment names for this URL; none for this machine's own addresses.

    Raises ``ProviderError`` for one that is not reached by HTTP, or is not an address.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or is_loopback(host) or host == "0.0.0.0" or proxy_bypass(host):  # 0.0.0.0, called, is this machine
        return None
    proxies = getproxies()
    kind = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(kind)
    if not proxy:
        return None
    if "://" not in proxy:  # a form curl takes
        proxy = f"http://{proxy}"
    if not _is_http(proxy):
        name = _as_set(f"{kind}_proxy")
        raise ProviderError(  # without its value, which may hold a password
            Failure(
                "connect",
                f"{name} does not name a usable proxy.",
                f"Write it like http://host:port (SOCKS is not supported), or add {host} to no_proxy; then restart.",
            )
        )
    return proxy


def _is_http(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in ("http", "https") and parts.port != 0 and bool(httpx.URL(proxy).host)
    except (ValueError, httpx.InvalidURL):
        return False


def _as_set(name: str) -> str:
    """The variable's name in the case it has in the environment."""
    return next((found for found in os.environ if found.lower() == name), name)


def proxy_at(url: str) -> httpcore.Proxy:
    """The proxy for httpcore; user and password of its URL become a header of the requests to it."""
    proxy = httpx.Proxy(url)
    context = certificates() if proxy.url.scheme == "https" else None
    return httpcore.Proxy(str(proxy.url), proxy.raw_auth, proxy.headers.raw, context)


def certificates() -> ssl.SSLContext:
    """A context that trusts ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` where one is set, else the system's authorities.

    Where the system has none, it trusts Mozilla's. Raises ``ProviderError`` where what is set cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        if file or folder:
            return ssl.create_default_context(cafile=file or None, capath=None if file else folder)
        if sys.platform in ("darwin", "win32"):
            return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        paths = ssl.get_default_verify_paths()
        return ssl.create_default_context(cafile=None if paths.cafile or paths.capath else certifi.where())
    except OSError as error:  # ssl.SSLError too
        name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR" if folder else "The system"
        problem = f"{name} does not name readable certificates ({error.strerror or error})."
        remedy = "Set it to a file of certificates in PEM form, or remove it; then start again."
        raise ProviderError(Failure("tls", problem, remedy)) from None
