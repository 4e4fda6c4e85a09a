"""A window for the render mode `human`; the only place that knows pygame."""

from __future__ import annotations

from typing import Any

import numpy as np

FPS = 1
"""Pictures per second, as `HighResVQAEnv.metadata["render_fps"]` says."""
SLICE = 20
"""Milliseconds between two looks at the window's events."""


class Window:
    """Shows pictures one after the other, each for 1/fps seconds.

    Opened by the first picture. When a person closes it, it stays closed and the episode goes on.
    Raises ImportError that says how to install pygame when it is missing.
    """

    def __init__(self, fps: float = FPS) -> None:
        self._pygame = _import()
        self._wait = round(1000 / fps)
        self._screen: Any = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        return self._screen is not None

    def show(self, picture: np.ndarray) -> None:
        """Show a picture [H, W, 3] uint8 and wait for as long as it is to be seen."""
        if self._closed:
            return
        pygame = self._pygame
        high, wide, _ = picture.shape
        if self._screen is None:
            pygame.display.init()
            pygame.display.set_caption("HighResVQA")
            self._screen = pygame.display.set_mode((wide, high))
        surface = pygame.image.frombuffer(
            np.ascontiguousarray(picture).tobytes(), (wide, high), "RGB"
        )
        self._screen.blit(surface, (0, 0))
        pygame.display.flip()
        # In slices: a window whose events nobody takes counts as frozen.
        left = self._wait
        while left > 0:
            if any(event.type == pygame.QUIT for event in pygame.event.get()):
                self.close()
                return
            pygame.time.wait(min(SLICE, left))
            left -= SLICE

    def close(self) -> None:
        """Close the window, if there is one. May be called again."""
        if self._screen is not None:
            self._pygame.display.quit()
        self._screen, self._closed = None, True


def _import() -> Any:
    try:
        import pygame
    except ImportError as error:
        raise ImportError(
            "render_mode 'human' needs pygame: pip install pygame, or pip install 'hrvision[human]'"
        ) from error
    return pygame
