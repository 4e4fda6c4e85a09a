"""The embedded model: a Qwen3-VL of one million parameters, its weights and their recipe.

`python -m agents.tiny.make` makes the weights anew; `recipe.json` beside them says how these were
made and what was measured on them.
"""

from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"

ENV: dict[str, Any] = {
    "dataset": "synthetic",
    "prompt": "brief",
    "factor": 16,
    "min_pixels": 96 * 96,
    "max_pixels": 96 * 96,
    "box_dialect": "relative_1000",
    "min_box": 2,
}
"""How the environment has to be made for this model."""
