"""Reasoning that reaches us twice: gateways send one thought in a field and again as tags inside the content.

Pure. The way that speaks first is shown as it comes. What the other says is held back while it repeats that, from the
start; a repetition is dropped, another thought is shown whole. Blanks do not count, since tags bring their own.
"""

from __future__ import annotations

from collections import deque

LEAD = 200  # characters by which a repetition may run ahead of what it repeats


class Echo:
    """``heard`` says what of a text is to be shown. At most ``most_held`` characters are held back."""

    def __init__(self, most_held: int) -> None:
        self._most_held = most_held
        self._first = ""  # the way that spoke first
        self._ahead = ""  # the way that has said more
        self._more: deque[str] = deque()  # what it said and the other did not yet
        self._head, self._at = "", 0  # the piece before those, without blanks, and how much of it the other said
        self._held: list[str] = []  # of the second way
        self._n_held = 0
        self._differs = False

    def heard(self, way: str, text: str) -> str:
        self._first = self._first or way
        if self._differs:
            return text
        if way == self._first:
            return text if self._agrees(way, text) else text + self._released()
        self._held.append(text)
        self._n_held += len(text)
        if not self._agrees(way, text) or self._n_held > self._most_held:
            return self._released()
        return self.rest() if self._n_ahead() > LEAD else ""

    def rest(self) -> str:
        """What the second way said beyond the first, once no more is waited for."""
        n_ahead, held = self._n_ahead(), self._released()
        start = len(held)
        while n_ahead:
            start -= 1
            n_ahead -= not held[start].isspace()
        return held[start:]

    def _n_ahead(self) -> int:
        """By how many characters the second way is ahead, 0 if it is not."""
        if self._ahead == self._first:
            return 0
        return len(self._head) - self._at + sum(len(_words(text)) for text in self._more)

    def _released(self) -> str:
        held = "".join(self._held)
        self._differs = True
        self._held.clear()
        self._more.clear()
        return held

    def _agrees(self, way: str, text: str) -> bool:
        """Whether both ways still say the same as far as both have spoken."""
        if self._ahead in ("", way):
            self._ahead = way
            self._more.append(text)
            return True
        new, i = _words(text), 0
        while i < len(new):
            if self._at == len(self._head):
                if not self._more:
                    self._ahead, self._head, self._at = way, "", 0
                    self._more.append(new[i:])
                    return True
                self._head, self._at = _words(self._more.popleft()), 0
            n = min(len(self._head) - self._at, len(new) - i)
            if self._head[self._at : self._at + n] != new[i : i + n]:
                return False
            self._at, i = self._at + n, i + n
        return True


def _words(text: str) -> str:
    return "".join(text.split())
