"""A person in the agent's place: in a terminal (`terminal.py`) or in a browser (`server.py`)."""

from .game import Game, Score
from .server import serve
from .terminal import play

__all__ = ["Game", "Score", "play", "serve"]
