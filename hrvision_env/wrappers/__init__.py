"""Wrappers for Gymnasium environments: what an agent gets to see, how it acts, what it earns."""

from .chat import ChatHistory, MessageSpace, to_openai
from .numeric import NumericBox
from .record_trace import RecordTrace
from .shaping import RewardShaping, VectorRewardShaping, Weights, shape
from .zoom import ZoomGrid

__all__ = [
    "ChatHistory",
    "MessageSpace",
    "NumericBox",
    "RecordTrace",
    "RewardShaping",
    "VectorRewardShaping",
    "Weights",
    "ZoomGrid",
    "shape",
    "to_openai",
]
