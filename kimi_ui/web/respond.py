"""Request and response bodies: JSON with a size limit, and refusals as ``{"error": sentence}`` for the user.

A refusal has a ``code`` if the page can act on it.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ..view.frames import dumps

MAX_JSON_BYTES = 4_000_000


class Json(Response):
    media_type = "application/json"

    def __init__(self, value: Any, status_code: int = 200) -> None:
        super().__init__(dumps(value), status_code, {"Cache-Control": "no-store"})


def refusal(sentence: str, status: int, **more: str) -> Response:
    return Json({"error": sentence, **more}, status)


async def log_refusal(request: Request, error: Exception) -> Response:
    """For ``LogError`` wherever a route needs the log: what is the matter, and what to do."""
    return refusal(str(error), 503)


def plain_text(text: str) -> Response:
    return PlainTextResponse(text.encode(errors="replace"), headers={"Cache-Control": "no-store"})


def image_file(data: bytes, media_type: str) -> Response:
    """An image as a document of its own can do nothing; the guard adds ``nosniff``."""
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; sandbox"}
    return Response(data, media_type=media_type, headers=headers)


async def body_of(request: Request, limit: int) -> bytes:
    """The body; reading stops after ``limit`` bytes."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) >= limit:
            break
    return bytes(data[:limit])


async def json_of(request: Request) -> dict[str, Any]:
    """The body as a JSON object; 400 for anything else."""
    data = await body_of(request, MAX_JSON_BYTES)
    try:
        value = orjson.loads(data)
    except ValueError:
        raise HTTPException(400) from None
    if not isinstance(value, dict):
        raise HTTPException(400)
    return value
