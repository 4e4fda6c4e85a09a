"""A benchmark as data, by hand: three agents, ablations of one of them, everything that a report
can show."""

from __future__ import annotations

from typing import Any

HOSTILE = '</td><script>alert(1)</script><img src="x" onerror="alert(2)">'
DATASET = "vstar"


def summary(accuracy: float, n: int = 100, **more: Any) -> dict[str, Any]:
    low, high = max(accuracy - 0.1, 0.0), min(accuracy + 0.1, 1.0)
    base = {"accuracy": accuracy, "n": n, "questions": n, "interval": [low, high], "chance": 0.25}
    return {**base, "outcomes": {"correct": round(accuracy * n)}, **more}


def estimate(value: float) -> dict[str, Any]:
    return {"value": value, "interval": [max(value - 0.05, 0.0), min(value + 0.05, 1.0)]}


def cost(tokens: float, seconds: float) -> dict[str, float]:
    return {"image_tokens": tokens, "seconds": seconds, "correct_per_1k_image_tokens": 1.5}


def full(accuracy: float, tokens: float) -> dict[str, Any]:
    """An agent with everything that can be said of one."""
    parts = {"attributes": summary(accuracy, 60), "relations": summary(accuracy / 2, 40)}
    return summary(
        accuracy,
        strict=accuracy - 0.01,
        categories=parts,
        macro_accuracy=0.75 * accuracy,
        trainings={
            "values": [accuracy - 0.02, accuracy, accuracy + 0.02],
            "sd": 0.02,
            "interval_questions": [accuracy - 0.08, accuracy + 0.08],
            "interval_trainings": [accuracy - 0.05, accuracy + 0.05],
        },
        draws={
            "k": 4,
            "avg": estimate(accuracy),
            "pass": {"1": estimate(accuracy), "2": estimate(0.8), "4": estimate(0.9)},
        },
        valid_box_rate=0.97,
        hit_rate=0.7,
        iou=0.2,
        coverage=0.6,
        box_side=173.2,
        crops_per_episode=1.0,
        box_area=0.03,
        crop_recall=0.61,
        best_iou=0.21,
        iogt_rate=0.66,
        sufficiency={"reference": "base", "n": 100, "with_box": 97, "given_box": 0.62}
        | estimate(0.6),
        cost=cost(tokens, 0.5),
        aggregations={"micro": estimate(accuracy), "macro2": {"incomplete": "98 of 191"}},
        official={"micro": estimate(accuracy)},
    )


def make_summaries(hostile: str = "grpo") -> dict[str, Any]:
    """Agents random, `hostile` and mgpo, and mgpo's ablations."""
    crops = {"blank": 0.26, "shuffled": 0.24, "oracle": 0.95}
    variants = {f"mgpo [crop={name}]": summary(value) for name, value in crops.items()}
    budgets = {
        f"mgpo [max_pixels={2304 * k}]": summary(0.4 + 0.05 * k, cost=cost(4.5 * k, 0.3))
        for k in (1, 2)
    }
    agents = {
        "random": summary(0.25, cost=cost(36, 0.1)),
        hostile: full(0.52, 9),
        "mgpo": full(0.6, 18) | {"outcomes": {"correct": 57, "error": 3}},
        **variants,
        **budgets,
    }
    return {name: {DATASET: found} for name, found in agents.items()}


def make_manifest(hostile: str = "grpo") -> dict[str, Any]:
    env = {"min_pixels": 2304, "max_pixels": 9216, "dialogue": "mgpo", "prompt": "brief"}
    env |= {"box_dialect": "relative_1000", "box_parser": "strict", "grader": "strict"}
    model = {"agent": "runs/mgpo", "env": env, "engine": {"name": "transformers"}}
    agents: dict[str, Any] = {
        "random": {"agent": "random", "env": env},
        hostile: {**model, "agent": hostile},
        "mgpo": {**model, "trainings": ["runs/0", "runs/1", "runs/2"]},
    }
    for name in make_summaries():
        if "[" in name:
            condition = name[len("mgpo [") : -1].split("=")
            agents[name] = {**model, "variant_of": "mgpo", "condition": condition}
    data = {"questions": 100, "skipped": 0, "hash": "ab" * 16}
    return {
        "agents": agents,
        "datasets": {DATASET: {**data, "notes": ["the first 100 of 191 questions"]}},
        "seed": 7,
        "samples": 4,
        "versions": {"python": "3.11"},
        "machine": {"system": "Linux", "cores": 2},
        "git": {"commit": "c575143f00d", "dirty": True},
        "command": "python -m benchmarks.run --agents mgpo",
    }


def pair(a: str, b: str, difference: float, inside: bool, **more: Any) -> dict[str, Any]:
    words = "inside the noise" if inside else "more than chance"
    side = "above" if difference > 0 else "below"
    points = f"{abs(100 * difference):.1f}"
    return {
        "dataset": DATASET,
        "a": a,
        "b": b,
        "n": 100,
        "questions": 100,
        "both": 40.0,
        "only_a": 20.0,
        "only_b": 12.0,
        "neither": 28.0,
        "difference": difference,
        "interval": [difference - 0.11, difference + 0.11],
        "p": 0.21 if inside else 0.0001,
        "p_adjusted": 0.42 if inside else 0.0004,
        "test": "McNemar, exact",
        "inside_noise": inside,
        "text": f"{a} is {points} points {side} {b} on {DATASET}: {words}.",
        **more,
    }


def make_comparisons(hostile: str = "grpo") -> list[dict[str, Any]]:
    return [
        pair("random", hostile, -0.27, False),
        pair("random", "mgpo", -0.35, False),
        pair(hostile, "mgpo", -0.08, True),
        pair("mgpo [crop=blank]", "mgpo", -0.34, False),
        pair("mgpo", "mgpo [crop=oracle]", -0.35, False),
    ]


def make_published(hostile: str = "grpo") -> dict[str, Any]:
    row = {"n": 191, "metric": "micro", "source": "a paper, Table 1", "note": "", "link": ""}
    same = {"standing": "comparable", "reasons": {}, "protocol": {"turns": 2, "sampling": None}}
    stated = {**same, "standing": "as far as stated"}
    apart = {"standing": "not comparable", "ours": {}, "protocol": {}}
    ours = {"value": 0.6, "interval": [0.55, 0.65], "n": 573, "questions": 191}
    ours |= {"standing": "comparable", "open": []}
    open_ = {**ours, "standing": "as far as stated", "open": ["grader", "dialogue"]}
    return {
        DATASET: [
            {**row, **same, "model": "Theirs-7B", "value": 0.764, "ours": {"mgpo": ours}},
            {**row, **stated, "model": "Open-7B", "value": 0.7, "ours": {hostile: open_}},
            {
                **row,
                **apart,
                "model": hostile,
                "value": 0.9,
                "link": "javascript:alert(1)",
                "reasons": {
                    "mgpo": ["asked 100 of 191 questions"],
                    hostile: ["asked 100 of 191 questions", "published with 2 turns"],
                },
            },
        ]
    }
