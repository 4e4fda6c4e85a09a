"""Stop strings at token level: the token that completes one is the last token of the reply."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .codec import Codec

REPLACEMENT = "\ufffd"
"""What decoding shows for a piece of a character: such a token might complete anything."""


class Stopper:
    """Finds the step at which a stop string is complete, decoding next to nothing.

    Few tokens of a vocabulary can complete a given string; only after one of those is the tail of
    the reply decoded and searched.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._pieces: list[str] = []
        self.enders = lru_cache(maxsize=64)(self._enders)

    def _enders(self, stop: tuple[str, ...]) -> np.ndarray:
        """[V] bool: the tokens that can complete one of the strings."""
        if any(not text for text in stop):
            raise ValueError(f"stop: got {stop!r}, expected strings that are not empty")
        if not self._pieces:
            ids = range(len(self.codec.tokenizer))
            self._pieces = [self.codec.decode([i]) for i in ids]
        ends = {text[k:] for text in stop for k in range(len(text))}
        found = [
            REPLACEMENT in piece
            or any(piece.startswith(end) for end in ends)
            or any(text in piece for text in stop)
            for piece in self._pieces
        ]
        return np.array(found, dtype=np.bool_)

    def complete(self, reply: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether a stop string ends within the last token of `reply`.

        True also for one that ended earlier: call it after every token that may end one.
        """
        for text in stop:
            # A token stands for at least one byte, so the string spans at most this many.
            tail = self.codec.decode(list(reply[-len(text.encode()) :]))
            if text in tail:
                return True
        return False

    def cut(self, reply: Sequence[int], stop: tuple[str, ...]) -> int | None:
        """How many tokens of `reply` there are up to the end of the first stop string, if any."""
        if not stop:
            return None
        enders = self.enders(stop)
        for n, token in enumerate(reply, start=1):
            if token < len(enders) and enders[token] and self.complete(reply[:n], stop):
                return n
        return None
