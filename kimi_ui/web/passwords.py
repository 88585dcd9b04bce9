"""Signing in with a password: the one that all share (``KIMI_UI_PASSWORD``), or each person's of the users file.

Wrong tries are limited, in the log, so that all servers which share it count them together. So that strangers' tries do
not keep a person out, a browser in which they signed in before keeps a device cookie, with which only its own tries
count (OWASP: Slow Down Online Guessing Attacks with Device Cookies). A stolen one allows as many tries as one address.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets

from starlette.requests import Request
from starlette.responses import Response

from ..core.owner import Person
from ..log.sessions import Session, SignInTries, hashed
from ..users_file import User, UsersFile, key
from .login import LOGIN, MAX_NAME_CHARS, SignedIn, SignIn, address_of, derived, form_of, own_path, page

TRIES = {"here": 5, "address": 20, "name": 20}
"""Failed sign-ins within ``log.sessions.WINDOW``: of one name from one address, from one address, of one name. With the
one password: ``here``, from one address."""

DEVICE = "kimi_device"  # a random id, and its signature with the hash of the person's password
CHECKED_AT_ONCE = 2  # passwords of the users file, each with 64 MB
ANYBODY = Person("", "")  # whoever knows the one password; the visitor is then the browser


class OnePassword(SignIn):
    """Signs in with the one password. A browser gets a form; a program sends ``Authorization: Bearer PASSWORD``."""

    needed = f"A password is needed: log in at {LOGIN}."

    def __init__(self, password: str, tries: SignInTries) -> None:
        self._hashed = hashed(password)
        self._credential = derived(password, "session").hex()  # sessions of an older password are over
        self._tries = tries

    def still(self, session: Session) -> Person | None:
        return ANYBODY if session.credential == self._credential else None

    def program(self, request: Request) -> Person | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        is_right = hmac.compare_digest(hashed(given), self._hashed)
        try_id, _ = self._tries.begin({address_of(request): TRIES["here"]}, counts=not is_right)
        return ANYBODY if try_id and is_right else None

    async def answer(self, request: Request) -> SignedIn | Response:
        wanted = own_path(request.query_params.get("next", "/"))
        if request.method != "POST":
            return _form(request, wanted)
        form = await form_of(request)
        if form is None:
            return _form(request, wanted, "That is too long for a password.", 413)
        wanted, address = own_path(form.get("next", "/")), address_of(request)
        is_right = hmac.compare_digest(hashed(form.get("password", "")), self._hashed)
        try_id, wait_s = await asyncio.to_thread(self._tries.begin, {address: TRIES["here"]}, counts=not is_right)
        if not try_id:
            return _must_wait(request, wanted, wait_s)
        if not is_right:
            return _form(request, wanted, "That is not the password.", 401)
        await asyncio.to_thread(self._tries.forgive, try_id, address)
        return SignedIn(ANYBODY, self._credential, wanted)


class Users(SignIn):
    """Signs in with a name and a password of the users file."""

    def __init__(self, file: UsersFile, tries: SignInTries) -> None:
        self._file = file
        self._tries = tries
        self._checking = asyncio.Semaphore(CHECKED_AT_ONCE)

    def still(self, session: Session) -> Person | None:
        user = self._file.by_id(session.person.id)
        return user.person if user and user.credential == session.credential else None

    async def answer(self, request: Request) -> SignedIn | Response:
        wanted = own_path(request.query_params.get("next", "/"))
        if request.method != "POST":
            return _form(request, wanted, names=True)
        form = await form_of(request)
        if form is None:
            return _form(request, wanted, "That is too long for a name and a password.", 413, names=True)
        wanted = own_path(form.get("next", "/"))
        name, address = form.get("name", "").strip()[:MAX_NAME_CHARS], address_of(request)
        device = await asyncio.to_thread(self._device, name, request.cookies.get(DEVICE, ""))
        here = f"device {device}" if device else f"{address} {key(name)}"
        limits = {here: TRIES["here"]}
        if not device:
            limits |= {address: TRIES["address"], f"name {key(name)}": TRIES["name"]}
        try_id, wait_s = await asyncio.to_thread(self._tries.begin, limits)
        if not try_id:
            return _must_wait(request, wanted, wait_s, names=True, person=name)
        async with self._checking:
            user = await asyncio.to_thread(self._file.check, name, form.get("password", ""))
        if user is None:
            return _form(request, wanted, "The name or the password is wrong.", 401, names=True, person=name)
        await asyncio.to_thread(self._tries.forgive, try_id, here)
        device = device or secrets.token_urlsafe(16)
        cookie = (DEVICE, f"{device}.{_signature(user, device)}")
        return SignedIn(user.person, user.credential, wanted, cookie=cookie)

    def _device(self, name: str, cookie: str) -> str:
        """The id in the device cookie; empty unless this person signed in there, with the password of now."""
        device, _, signature = cookie.partition(".")
        user = self._file.named(name)
        is_known = user and hmac.compare_digest(signature.encode(), _signature(user, device).encode())
        return device if is_known else ""


def _signature(user: User, device: str) -> str:
    return hmac.digest(user.password.encode(), f"{user.id} {device}".encode(), "sha256").hex()


def _must_wait(request: Request, wanted: str, wait_s: int, **more: object) -> Response:
    response = _form(request, wanted, f"Too many wrong tries. Wait {wait_s} s.", 429, **more)
    response.headers["Retry-After"] = str(wait_s)
    return response


def _form(request: Request, wanted: str, message: str = "", status: int = 200, **more: object) -> Response:
    return page(request, status, action=LOGIN, next=wanted, message=message, **more)
