"""Questions about high-resolution images as a Gymnasium environment: `HighResVQA-v0`.

Importing this package registers the environment.
"""

from gymnasium.envs.registration import register, registry

from .env import HighResVQAEnv
from .images import Frame, ImageError, ImageStore
from .records import Box, Episode, ImageRef, Outcome, Sample, Turn
from .spaces import ImageSpace, UnicodeText
from .vector import HighResVQAVectorEnv

__all__ = [
    "Box",
    "Episode",
    "Frame",
    "HighResVQAEnv",
    "HighResVQAVectorEnv",
    "ImageError",
    "ImageRef",
    "ImageSpace",
    "ImageStore",
    "Outcome",
    "Sample",
    "Turn",
    "UnicodeText",
]

if "HighResVQA-v0" not in registry:
    register(
        id="HighResVQA-v0",
        entry_point="hrvision_env.env:HighResVQAEnv",
        vector_entry_point="hrvision_env.vector:HighResVQAVectorEnv",
    )
