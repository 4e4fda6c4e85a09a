"""The render mode `human`, with SDL's driver that shows nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hrvision_env import HighResVQAEnv, rendering
from hrvision_env.rendering import window

from .test_rendering import box, make


@pytest.fixture
def pygame(monkeypatch):
    module = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield module
    module.quit()


def test_a_window_shows_each_picture_for_its_time(pygame, monkeypatch):
    waited: list[int] = []
    pumped: list[int] = []
    get = pygame.event.get

    def pump():
        pumped.append(len(waited))
        return get()

    monkeypatch.setattr(pygame.time, "wait", waited.append)
    monkeypatch.setattr(pygame.event, "get", pump)
    shown = rendering.Window(fps=4)
    assert not shown.is_open
    pixels = np.zeros(rendering.CANVAS, dtype=np.uint8)
    pixels[10, 20] = (1, 2, 3)
    shown.show(pixels)
    surface = pygame.display.get_surface()
    assert surface.get_size() == (1280, 720) and surface.get_at((20, 10))[:3] == (1, 2, 3)
    assert sum(waited) == 250 and pumped == list(range(13))
    shown.show(pixels + 7)
    assert surface.get_at((20, 10))[:3] == (8, 9, 10)
    shown.close()
    shown.close()
    assert not shown.is_open and not pygame.display.get_init()


def test_a_window_that_a_person_closes_stays_closed(pygame, monkeypatch):
    monkeypatch.setattr(pygame.time, "wait", lambda _: None)
    shown = rendering.Window()
    pixels = np.zeros(rendering.CANVAS, dtype=np.uint8)
    shown.show(pixels)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    shown.show(pixels)
    assert not shown.is_open
    shown.show(pixels)
    assert not shown.is_open


def test_the_environment_shows_itself_in_a_window(pygame, monkeypatch):
    monkeypatch.setattr(pygame.time, "wait", lambda _: None)
    env = make(render_mode="human")
    env.reset(options={"question_id": "white"})
    surface = pygame.display.get_surface()
    before = pygame.surfarray.array3d(surface).copy()
    env.step(box(140, 56, 420, 280))
    assert (before != pygame.surfarray.array3d(surface)).any()
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()


def test_the_window_keeps_the_pace_of_the_metadata():
    assert HighResVQAEnv.metadata["render_fps"] == window.FPS
    assert HighResVQAEnv.metadata["render_modes"] == ["human", "rgb_array", "ansi"]


def test_without_pygame_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ImportError, match=r"pip install pygame.*hrvision\[human\]"):
        rendering.Window()


def test_pygame_is_loaded_by_the_window_alone():
    code = "import sys, hrvision_env, hrvision_env.rendering; sys.exit('pygame' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
