"""Compute a training step again: `python -m agents.replay RUN --step N`.

RUN is the folder of a run that kept its rollouts (`rollout.archive: 1`, or `rollout.source`). The
update of step N is computed from the newest checkpoint before it and printed beside what the run
logged; on the same machine and versions every number is the same.

    python -m agents.replay RUN/failure/step_000012

computes the update again that stopped a run, and says which weights and gradients are not finite.
Exit code: 0 equal, 1 not, 2 bad input.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before torch is loaded, as in agents.train.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from .failures import FAILURES, told
from .training.dump import RECORD
from .training.optimizer import TrainingError
from .training.replay import Replayed, replay, replay_dump


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m agents.replay", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="folder of the run, or of what stopped it")
    parser.add_argument("--step", type=int, help="as metrics.jsonl counts: from 1")
    given = parser.parse_args(words)
    stopped = (Path(given.run) / RECORD).is_file()
    if stopped == (given.step is not None):
        parser.error("--step: expected with the folder of a run, and not with one of failure/")
    try:
        found = replay_dump(given.run) if stopped else replay(given.run, given.step)
    except TrainingError as error:
        print(f"the step stops training: {error}")
        return 1
    except FAILURES as error:
        print(f"error: {told(error)}", file=sys.stderr)
        return 2
    print(report(found))
    return 1 if found.different else 0


def report(found: Replayed) -> str:
    """A table of both, and whether they are equal."""
    begun = f"step {found.begun_after}" if found.begun_after else "the start"
    lines = [f"step {found.step}, computed from {begun}"]
    lines += [f"{'':24}{'again':>24}{'logged':>24}"]
    for name, value in found.again.items():
        mark = "  differs" if name in found.different else ""
        lines.append(f"{name:24}{value!s:>24}{found.logged[name]!s:>24}{mark}")
    total = len(found.again)
    equal = total - len(found.different)
    return "\n".join([*lines, f"{equal} of {total} metrics are equal", *found.notes])


if __name__ == "__main__":
    from transformers.utils import logging

    logging.disable_progress_bar()
    sys.exit(main())
