"""Makes torchvision importable in the tests' vLLM environment; Python runs it at every start.

Wheels of torchvision are built for one build of torch. Beside torch for the CPU their operators are
missing, and importing torchvision, as vLLM does, fails when it describes two of them. They are
declared here, without an implementation: no model of ours calls them.
"""

import importlib.abc
import sys
from typing import Any

SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class Declarer(importlib.abc.MetaPathFinder):
    """Finds no module; declares the operators when torchvision is asked for first."""

    library: Any = None
    """Kept: what it declares is forgotten with it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch

            Declarer.library = torch.library.Library("torchvision", "FRAGMENT")
            for signature in SIGNATURES:
                name = signature.partition("(")[0]
                if not hasattr(torch.ops.torchvision, name):
                    Declarer.library.define(signature)
        return


sys.meta_path.insert(0, Declarer())
