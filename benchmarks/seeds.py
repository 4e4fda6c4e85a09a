"""Is it luck? The quickstart again with other seeds and with other warm starts.

    python -m benchmarks.seeds --seeds 0 1 2 --weights agents/tiny/weights

trains GRPO and MGPO once per seed and model folder (6 minutes each on two cores), and keeps the
figures with mean and spread over seeds, the machine, the date and each warm start's own record
under `benchmarks/results/`. What is already there for a seed and the same weights is not run again.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .processes import ROOT
from .run import write_json

RESULT = ROOT / "benchmarks/results/quickstart_seeds.json"
PARTS = ("heldout", "out_of_distribution")
MEASURES = (
    *("accuracy", "valid_box_rate", "hit_rate_greedy", "hit_rate_sampled"),
    *("iou", "iou_sampled", "coverage", "box_side", "box_side_sampled"),
)


def digest(weights: Path) -> str:
    return hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest()


def run_once(weights: Path, seed: int, runs: Path) -> dict[str, Any]:
    """One quickstart in a folder of its own. Raises CalledProcessError when it fails."""
    out = runs / f"{digest(weights)[:8]}_seed{seed}"
    if not (out / "results.json").is_file():
        command = [sys.executable, "-m", "benchmarks.quickstart", "--out", str(out)]
        command += ["--seed", str(seed), "--model.path", str(weights.resolve())]
        subprocess.run(command, cwd=ROOT, check=True)
    # Paths as seen from the checkout: the kept file speaks of no machine.
    found = json.loads((out / "results.json").read_text().replace(f"{ROOT}/", ""))
    return {key: found[key] for key in (*PARTS, "seconds", "training", "manifest")}


def over_seeds(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`{part: {agent: {measure: {"mean", "sd", "values"}}}}`; sd is None for a single seed."""
    table: dict[str, Any] = {}
    for part in PARTS:
        for agent in results[0][part]:
            for measure in MEASURES:
                values = [result[part][agent].get(measure) for result in results]
                if any(value is None for value in values):
                    continue
                table.setdefault(part, {}).setdefault(agent, {})[measure] = {
                    "mean": statistics.mean(values),
                    "sd": statistics.stdev(values) if len(values) > 1 else None,
                    "values": values,
                }
    return table


def study(weights: Path, seeds: Sequence[int], runs: Path) -> dict[str, Any]:
    """All seeds on one warm start."""
    results = [run_once(weights, seed, runs) for seed in seeds]
    recipe = weights / "recipe.json"
    return {
        "sha256": digest(weights),
        "warm_start": json.loads(recipe.read_text()) if recipe.is_file() else None,
        "seeds": list(seeds),
        "n": results[0]["heldout"]["mgpo"]["n"],
        "over_seeds": over_seeds(results),
        "runs": dict(zip(map(str, seeds), results, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=Path, nargs="+", default=[ROOT / "agents/tiny/weights"])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/seeds")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    kept = json.loads(options.out.read_text()) if options.out.is_file() else {"studies": []}
    for weights in options.weights:
        found = study(weights, options.seeds, options.runs)
        others = [s for s in kept["studies"] if s["sha256"] != found["sha256"]]
        kept["studies"] = [*others, found]
        kept["date"] = datetime.date.today().isoformat()
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, kept)
        for part, agents in found["over_seeds"].items():
            for agent, measures in agents.items():
                accuracy = measures["accuracy"]
                spread = "" if accuracy["sd"] is None else f" +- {100 * accuracy['sd']:.1f}"
                print(f"{part:20} {agent:18} {100 * accuracy['mean']:5.1f}%{spread}")
    print(f"kept in {options.out}")


if __name__ == "__main__":
    main()
