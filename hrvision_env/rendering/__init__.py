"""Episodes for people: as a picture, as text, in a window.

draw(running)     [H, W, 3] uint8, always of the same size (`CANVAS`)
text(running)     a transcript that is safe to print in a terminal
Window().show()   pictures in a window
"""

from .canvas import CANVAS, draw
from .transcript import refused_box, text, visible
from .window import Window

__all__ = ["CANVAS", "Window", "draw", "refused_box", "text", "visible"]
