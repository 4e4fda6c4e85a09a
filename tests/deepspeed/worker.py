"""One process of several: makes the runs of a file, `torchrun ... -m tests.deepspeed.worker FILE`.

The file holds a list of `{"model": FOLDER, "run_dir": FOLDER, "sections": {...}}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.agents.training.conftest import small_run


def make(run: dict[str, Any], ranks: Any = None) -> None:
    """Train; the sections are those of `small_run`. `sizes`: a file for those of the weights."""
    from agents import head
    from agents.rollout.engines._vllm_transfer import sizes
    from agents.training.trainer import Trainer

    head.MAX_LOGITS = run.get("max_logits", 2**26)
    trainer = Trainer(small_run(run["model"], **run["sections"]), run["run_dir"], ranks)
    trainer.fit()
    if "sizes" in run:
        Path(run["sizes"]).write_text(json.dumps(sizes(trainer.policy)))


def main() -> None:
    from agents.training import zero

    ranks = zero.join(2.0, "cpu")
    for run in json.loads(Path(sys.argv[1]).read_text()):
        make(run, ranks)


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        print(f"rank {os.environ['RANK']}: {type(error).__name__}: {error}", file=sys.stderr)
        if "--trace" in sys.argv:
            import traceback

            traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)
