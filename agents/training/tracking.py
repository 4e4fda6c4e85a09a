"""What a run says about itself: metrics.jsonl, wandb, a progress line, and what made it.

The run folder holds `config.yaml` (every value), `versions.json` (packages, commit, seed,
dataset), `metrics.jsonl` (one row per step and split), `episodes/` (text records of evaluation),
`checkpoints/` and, at the end, `model/`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hrvision_env.records import Episode

from ..config import Config
from ..config_sections import Tracking
from ..rollout.stats import METRICS as ROLLOUT_METRICS

METRICS = {
    # outcome; of training rollouts and of evaluation
    "reward_mean": "mean reward of the step's episodes, 0..1",
    "accuracy": "share of greedy episodes with a right answer, 0..1",
    "accuracy_sampled": "the same of sampled episodes, 0..1",
    "n": "episodes evaluated",
    # grounding: the last valid box against the gold box; see hrvision_env/diagnostics.py
    "valid_box_rate": "share of episodes with a valid box, 0..1 (evaluation: greedy)",
    "valid_box_rate_sampled": "the same of sampled episodes in evaluation, 0..1",
    "hit_rate_greedy": "share of boxes that hold the gold box's centre, greedy, 0..1",
    "hit_rate_sampled": "the same, sampled, 0..1",
    "iou": "intersection over union with the gold box, greedy, 0..1",
    "iou_sampled": "the same, sampled, 0..1",
    "coverage": "share of the gold box inside the box, greedy, 0..1",
    "coverage_sampled": "the same, sampled, 0..1",
    "box_side": "side of the box in per mille of the image's side, greedy",
    "box_side_sampled": "the same, sampled",
    # update
    "loss": "loss, mean over the step's updates",
    "zero_variance_share": "share of groups whose siblings all got the same reward, 0..1",
    "mismatch_mean": "mean |log-prob of trainer - of sampler| before the first update, nats",
    "mismatch_max": "largest of them, nats",
    "mismatch_kl": "KL of sampler from trainer before the first update (k3), nats per token",
    "probe_max": "largest |log-prob of trainer - of engine| of the probe after publishing, nats",
    "probe_mean": "mean of them, nats",
    "importance_mean": "mean weight of tokens by optim.importance_cap",
    "importance_capped": "share of tokens whose weight it cuts, 0..1",
    "clip_fraction": "share of sampled tokens whose gradient the ratio clip cuts, 0..1",
    "kl_sampler": "KL of the sampling policy from the current one (k3), nats per token",
    "kl_reference": "KL of the current policy from the first one (k3), nats per token",
    "entropy": "entropy of the policy, nats per sampled token",
    "grad_norm": "gradient norm before clipping, mean over the step's updates",
    "lr": "learning rate of the last update",
    "skipped_updates": "updates skipped so far for a non-finite gradient",
    # volume and time
    **ROLLOUT_METRICS,
    "tokens_trained": "sampled tokens that carried loss",
    "seconds_step": "wall time of the step, s",
    "seconds_rollout": "of it rollouts, s",
    "seconds_update": "of it the update, s",
    "seconds_publish": "of it handing the weights to the engine and the probe, s",
    "seconds_eval": "wall time of the evaluation, s",
}
"""Every metric's name, with its meaning and unit. `Tracker.log` accepts no other."""

PACKAGES = ("torch", "transformers", "peft", "numpy", "pillow", "gymnasium", "vllm", "wandb")


class Tracker:
    """Writes metrics and shows progress: a bar on a terminal, plain lines elsewhere."""

    PLAIN_SECONDS = 5.0
    """At most one plain line in this time, evaluations aside."""

    def __init__(self, run_dir: Path, options: Tracking, settings: Mapping[str, Any]) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir = run_dir
        self.path = run_dir / "metrics.jsonl"
        self.console = Console()
        self._wandb = _start_wandb(run_dir, options, settings)
        self._progress: Progress | None = None
        self._last_line = -math.inf
        self._started = (time.monotonic(), 0)

    def start(self, step: int, steps: int) -> None:
        """Show progress from `step` (done so far) to `steps`."""
        self._started = (time.monotonic(), step)
        self._steps = steps
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._progress = Progress(*columns, TimeRemainingColumn(), console=self.console)
            self._task = self._progress.add_task("training", total=steps, completed=step)
            self._progress.start()

    def resume(self, step: int) -> set[tuple[int, str]]:
        """Drop rows of steps after `step`; returns the (step, split) of the rows that stay."""
        rows = read_metrics(self.path) if self.path.is_file() else []
        kept = [row for row in rows if row["step"] <= step]
        # By one rename: whoever is killed or reads in between finds all rows.
        unfinished = self.path.with_name(".metrics.jsonl.part")
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in kept))
        unfinished.replace(self.path)
        return {(row["step"], row["split"]) for row in kept}

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Append one row. A value that is not finite is written as null.

        Raises ValueError for a name that METRICS does not explain.
        """
        if unknown := sorted(set(metrics) - set(METRICS)):
            raise ValueError(f"metrics: got {', '.join(unknown)}, expected names in METRICS")
        values = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        if self._wandb is not None:
            finite = {f"{split}/{k}": v for k, v in values.items() if v is not None}
            self._wandb.log({**finite, "step": step})
        self._show(step, split, metrics)

    def message(self, text: str) -> None:
        """A line for the reader, above the progress bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def episodes(self, step: int, kind: str, episodes: Iterable[Episode]) -> None:
        """Save text records to episodes/step_000050_greedy.jsonl."""
        folder = self.run_dir / "episodes"
        folder.mkdir(exist_ok=True)
        lines = [json.dumps(episode.to_dict(), ensure_ascii=False) + "\n" for episode in episodes]
        (folder / f"step_{step:06d}_{kind}.jsonl").write_text("".join(lines))

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._wandb is not None:
            self._wandb.finish()

    def _show(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        names = ("accuracy", "reward_mean", "valid_box_rate", "hit_rate_sampled", "seconds_step")
        text = "  ".join(f"{n} {metrics[n]:.3g}" for n in names if n in metrics)
        if self._progress is not None and split == "train":
            self._progress.update(self._task, completed=step, description=text)
            return
        now = time.monotonic()
        if split == "train" and step < self._steps and now - self._last_line < self.PLAIN_SECONDS:
            return
        self._last_line = now
        self.message(f"{split:5} {step}/{self._steps}{self._remaining(step, now)}  {text}")

    def _remaining(self, step: int, now: float) -> str:
        began, first = self._started
        if step <= first or step >= self._steps:
            return ""
        seconds = (now - began) / (step - first) * (self._steps - step)
        return f"  {seconds / 60:.0f} min left" if seconds >= 90 else f"  {seconds:.0f} s left"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a half-written last line (a killed run) is left out."""
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def describe_run(
    run_dir: Path,
    config: Config,
    data: Mapping[str, Mapping[str, Any]],
    env: Mapping[str, Any] | None = None,
) -> None:
    """Write config.yaml and versions.json: what is needed to make the run again.

    `data`: what is to be said of the questions, `curation.facts`: "dataset" those of training,
    "evaluation" the others. `env`: the environment of the rollouts, where it is not the config's.
    """
    env = config.env if env is None else env
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(config.to_yaml())
    text = json.dumps(env, sort_keys=True, default=str)
    record = {
        **versions(),
        "seed": config.seed,
        "dataset": {
            "name": env.get("dataset"),
            "split": env.get("split"),
            **data["dataset"],
            "env_hash": hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        },
        "evaluation": dict(data.get("evaluation", {})),
    }
    (run_dir / "versions.json").write_text(json.dumps(record, indent=2) + "\n")


def versions() -> dict[str, Any]:
    """What this program runs on: machine, packages, the checkout's commit."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The checkout's commit, with "+changes" when files differ from it; None outside of git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _start_wandb(run_dir: Path, options: Tracking, settings: Mapping[str, Any]) -> Any:
    if options.wandb == "disabled":
        return None
    try:
        import wandb
    except ImportError as error:
        raise ImportError(
            f"tracking.wandb: got {options.wandb!r}, but wandb is not installed; "
            "install it or set tracking.wandb to disabled"
        ) from error
    # It takes our package `agents` for another library of that name and advertises.
    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
    # One run in wandb per run folder, also when it is resumed.
    id_file = run_dir / "wandb_id"
    if not id_file.is_file():
        id_file.write_text(uuid.uuid4().hex[:12])
    run = wandb.init(
        project=options.project,
        name=run_dir.name,
        id=id_file.read_text(),
        resume="allow" if options.wandb == "online" else None,
        dir=run_dir,
        mode=options.wandb,
        config=dict(settings),
        settings=wandb.Settings(console="off", silent=True),
    )
    run.define_metric("*", step_metric="step")
    return run
