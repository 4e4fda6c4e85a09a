"""Make the embedded model's weights from nothing: `python -m agents.tiny.make --seed 0`.

Three supervised stages (`vision`, `language` with tight boxes, `language` with loose boxes), then
the gates, the probe of the dataset's hidden detail, and `recipe.json` with every figure. About
25 minutes on one core; an interrupted recipe goes on after its last finished stage. The
composition that reinforcement learning has to find - an own tight box, its crop, the answer read
from it - is never shown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from rich.console import Console

from agents.rollout.codec import Codec
from agents.vlm import VLM

from . import WEIGHTS
from .data import LOOSE, TIGHT
from .gates import Gate, loose_gates, play, reading_table, tight_gates
from .language import prepare, train_language
from .model import build_image_processor, build_model, build_tokenizer
from .probe import probe
from .vision import train_vision

Report = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """Every setting of the warm start."""

    seed: int = 0
    vision_steps: int = 1000
    scenes: int = 4000
    tight_steps: int = 1400
    tight_lr: float = 1.2e-3
    loose_steps: int = 150
    loose_lr: float = 5e-4

    def rng(self, stage: int) -> np.random.Generator:
        """Each stage has its own stream, so that one can be taken up without those before it."""
        return np.random.default_rng((2026, self.seed, stage))


class Stages:
    """Model folders after each stage, beside the output: an interrupted recipe goes on from there.

    A stage is taken from disk only when it was made with the same settings.
    """

    def __init__(self, folder: Path, report: Report) -> None:
        self.folder, self.report = folder, report
        self.seconds: dict[str, float] = {}

    def run(self, name: str, settings: object, before: VLM, train: Callable[[VLM], None]) -> VLM:
        """The model after stage `name`; `train` changes the model before it in place."""
        path, record = self.folder / name, self.folder / name / "stage.json"
        wanted = json.loads(json.dumps({"settings": settings, "after": list(self.seconds)}))
        if record.is_file():
            found = json.loads(record.read_text())
            if found["made_with"] == wanted:
                self.report(f"{name}: taken from {path}")
                self.seconds[name] = found["seconds"]
                return VLM.load(path)
        began = time.monotonic()
        train(before)
        self.seconds[name] = round(time.monotonic() - began, 1)
        before.save(path)
        record.write_text(json.dumps({"made_with": wanted, "seconds": self.seconds[name]}))
        return VLM.load(path)


def command_of(recipe: Recipe) -> str:
    """What makes these weights again; where they were written to is nobody's business."""
    default = asdict(Recipe())
    changed = {k: v for k, v in asdict(recipe).items() if k == "seed" or v != default[k]}
    options = [f"--{name.replace('_', '-')} {value}" for name, value in changed.items()]
    return " ".join(["python -m agents.tiny.make", *options])


def make(recipe: Recipe, out: Path, report: Report) -> list[Gate]:
    """Run all stages, write the model folder and return the gates."""
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    codec = Codec(tokenizer, build_image_processor(), model.config)
    stages = Stages(out.with_name(out.name + ".stages"), report)

    def vision(vlm: VLM) -> None:
        train_vision(vlm, recipe.rng(1), recipe.vision_steps, report)

    settings: list[object] = [recipe.seed, recipe.vision_steps]
    vlm = stages.run("vision", settings, VLM(model, codec, freeze_vision=False), vision)
    material = prepare(vlm, recipe.rng(0), recipe.scenes)

    def tight(vlm: VLM) -> None:
        steps, lr = recipe.tight_steps, recipe.tight_lr
        train_language(vlm, recipe.rng(2), material, TIGHT, steps, lr, True, report)

    settings += [recipe.scenes, recipe.tight_steps, recipe.tight_lr, asdict(TIGHT)]
    vlm = stages.run("tight", settings, vlm, tight)
    ceiling = play(vlm, 256)
    report(f"tight boxes, kept as a figure only: {ceiling}")

    def loose(vlm: VLM) -> None:
        steps, lr = recipe.loose_steps, recipe.loose_lr
        train_language(vlm, recipe.rng(3), material, LOOSE, steps, lr, False, report)

    settings += [recipe.loose_steps, recipe.loose_lr, asdict(LOOSE)]
    vlm = stages.run("loose", settings, vlm, loose)
    measured = {
        "greedy": play(vlm, 512),
        "sampled": play(vlm, 512, temperature=1.0),
        "single_turn": play(vlm, 512, dialogue="single_turn"),
    }
    table = reading_table(vlm, recipe.rng(4), material)
    gates = tight_gates(ceiling) + loose_gates(measured, table)
    vlm.save(out)
    record = {
        "command": command_of(recipe),
        "recipe": asdict(recipe),
        "labels": {"tight": asdict(TIGHT), "loose": asdict(LOOSE)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        "seconds": stages.seconds,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread",
        "tight_model": ceiling,
        "measured": measured,
        "reading": table,
        "gates": [{**asdict(gate), "passed": gate.passed} for gate in gates],
    }
    (out / "recipe.json").write_text(json.dumps(record, indent=1) + "\n")
    return gates


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="model folder to write")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = vars(parser.parse_args())
    out: Path = args.pop("out")
    torch.set_num_threads(1)
    console, started = Console(), time.monotonic()

    def report(line: str) -> None:
        console.print(f"{time.monotonic() - started:5.0f} s  {line}", highlight=False)

    gates = make(Recipe(**args), out, report)
    for gate in gates:
        state = "passed" if gate.passed else "MISSED"
        report(f"{state}  {gate.name}: {gate.value:.3f} (expected {gate.low} to {gate.high})")
    report(f"written to {out}; probing whether the pattern can be read in the view")
    record = json.loads((out / "recipe.json").read_text())
    record["hidden_detail"] = probe(report, args["seed"], model=out)
    (out / "recipe.json").write_text(json.dumps(record, indent=1) + "\n")
    return 0 if all(gate.passed for gate in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
