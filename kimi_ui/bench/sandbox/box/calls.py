"""The harness for Python: define the code, make the calls, emit each result. Runs inside the box; standard library
only.

``request``: ``code`` (the source), ``nonce``, and ``calls``: each ``{"entry": name, "args": [values]}``, or for a class
``{"entry": name, "args": [values], "then": [[method, [values]], …]}``, whose result is the list of what the methods
return. Emitted, with the nonce in each: ``{"defined": true}`` or ``{"error": …}`` for the code itself, then for call
``i`` ``{"i": i, "value": …}`` or ``{"i": i, "error": type, "kinds": its classes, "text": message, …}``.

Values travel as JSON, with tags for what JSON lacks (``encode``). Only exact built-in types are let through, so a value
cannot bring methods of its own; expected values and the comparison are never in here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LARGEST = 200_000  # nodes of one value


def encode(value: Any, budget: list[int] | None = None) -> Any:
    """A value as JSON. Raises ``TypeError`` for other types and for values with more than ``LARGEST`` nodes."""
    budget = budget if budget is not None else [LARGEST]
    budget[0] -= 1
    if budget[0] < 0:
        raise TypeError("the value is too large")
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -(2**53) < value < 2**53 else {"i": hex(value)}
    if kind is float:
        return {"f": float.__repr__(value)}
    if kind is complex:
        return {"c": [float.__repr__(value.real), float.__repr__(value.imag)]}
    if kind is bytes:
        return {"b": value.hex()}
    if kind is list:
        return [encode(item, budget) for item in value]
    if kind is tuple:
        return {"t": [encode(item, budget) for item in value]}
    if kind in (set, frozenset):
        return {"s": [encode(item, budget) for item in value]}
    if kind is dict or (
        kind.__module__ == "collections" and kind.__name__ in ("OrderedDict", "defaultdict", "Counter")
    ):
        return {"d": [[encode(key, budget), encode(item, budget)] for key, item in dict.items(value)]}
    if kind.__module__ == "collections" and kind.__name__ == "deque":
        return [encode(item, budget) for item in list(value)]
    raise TypeError("a value of type " + kind.__name__ + " cannot be returned")


def decode(value: Any) -> Any:
    """The value that ``encode`` made this of."""
    if type(value) is list:
        return [decode(item) for item in value]
    if type(value) is not dict:
        return value
    ((tag, inner),) = value.items()
    if tag == "i":
        return int(inner, 16)
    if tag == "f":
        return float(inner)
    if tag == "c":
        return complex(float(inner[0]), float(inner[1]))
    if tag == "b":
        return bytes.fromhex(inner)
    if tag == "t":
        return tuple(decode(item) for item in inner)
    if tag == "s":
        return frozenset(decode(item) for item in inner)
    return {decode(key): decode(item) for key, item in inner}


def answer(request: dict[str, Any], emit: Callable[[Any], None]) -> None:
    nonce = request["nonce"]

    def failed(error: BaseException, **more: Any) -> None:
        text = str(error)[:200] if isinstance(error, Exception) else ""
        name = type(error).__name__
        number = error.errno if isinstance(error, OSError) and type(error.errno) is int else None
        kinds = [kind.__name__ for kind in type(error).__mro__]
        emit({"nonce": nonce, "kinds": kinds, "error": name, "text": text, "errno": number, **more})

    scope: dict[str, Any] = {"__name__": "solution"}
    try:
        exec(compile(request["code"], "<answer>", "exec"), scope)
    except BaseException as error:
        failed(error)
        return
    emit({"nonce": nonce, "defined": True})
    for i, call in enumerate(request["calls"]):
        try:
            if call["entry"] not in scope:
                raise NameError(call["entry"] + " is not defined")
            result = scope[call["entry"]](*decode(call["args"]))
            if "then" in call:
                result = [getattr(result, method)(*decode(arguments)) for method, arguments in call["then"]]
            elif hasattr(type(result), "__next__"):
                result = list(result)
            value = encode(result)
        except BaseException as error:
            failed(error, i=i)
            continue
        emit({"nonce": nonce, "i": i, "value": value})
