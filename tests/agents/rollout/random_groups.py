"""Groups of every shape that a rollout may leave, from a seed: for archives."""

from pathlib import Path

import numpy as np

from agents.rollout.chat import Chat
from agents.rollout.loop import Group
from agents.rollout.stats import EpisodeCost, RolloutStats
from hrvision_env.records import Box, Episode, ImageRef, Outcome, Point, Sample, Turn

from ..conftest import FACTOR, noise_image
from ..helpers import random_reply

ODD_TEXT = 'Où? 在哪里 \ud800 \x00 \U0001f600 \\ " <image>'


def random_box(rng):
    x1, y1, x2, y2 = rng.random(4).tolist()
    return Box(x1, y1, x2, y2, label="a")


def episode_of(rng, name, n_turns, outcome):
    turns = tuple(
        Turn(
            text=ODD_TEXT,
            n_images=int(rng.integers(0, 3)),
            reply="x" * int(rng.integers(0, 9)),
            boxes=tuple(random_box(rng) for _ in range(n)),
            box_raw=tuple(map(float, rng.random(4))),
            crop_sizes=((32, 16),) * n,
            fresh=bool(n),
            stop_reason="stop",
        )
        for n in range(n_turns)
    )
    error = "TimeoutError: 2 s" if outcome is Outcome.ERROR else ""
    reward = float(rng.random()) if outcome is Outcome.CORRECT else 0.0
    sizes = ((640, 480), (1, 2))
    return Episode(
        *(name, "d", "train", "mgpo", "brief", "system", sizes, sizes[:1]),
        *(turns, outcome, reward, "B", error),
    )


def sample_of(rng, name, photo):
    refs = [
        ImageRef(path=photo, size=(48, 32)),
        ImageRef(data=b"jpg", key="cell 3"),
        ImageRef(image=noise_image(16, 16), key="memory"),
    ]
    return Sample(
        id=name,
        question="Where?",
        images=tuple(refs[: int(rng.integers(1, 4))]),
        answers=("B",),
        answer_kind="choice",
        options={"A": "1", "B": "2"},
        boxes=(Box(0.1, 2, 3.25, 4),),
        points=(Point(1, 2),),
        category=("a", "b"),
        meta={"pair": (1, 2.5, ("x",)), "list": [{"k": None}, True], "at": Path("x")},
        messages=({"role": "user", "content": [{"type": "text", "text": ODD_TEXT}]},),
    )


def random_group(codec, seed, photo):
    """Siblings with 0 to 3 replies, 0 to 2 images a turn, hidden parts, failed members."""
    rng = np.random.default_rng(seed)
    name = f"q{seed}"
    root = Chat(codec, name)
    root.observe("<image> Where?", [noise_image(2 * FACTOR, 3 * FACTOR, seed)], system="Look.")
    episodes, trajectories = [], []
    for member in range(int(rng.integers(1, 5))):
        chat, n_turns = root.fork(member), int(rng.integers(0, 4))
        for turn in range(n_turns):
            if turn:
                n = int(rng.integers(0, 3))
                images = [
                    noise_image(FACTOR, FACTOR * (1 + k), int(rng.integers(3))) for k in range(n)
                ]
                chat.observe("<image>, " * n + "and?", images, fresh=bool(rng.random() < 0.3))
            chat.reply(random_reply(codec, rng, end=bool(rng.random() < 0.5)))
        failed = n_turns == 0 or rng.random() < 0.2
        outcome = Outcome.ERROR if failed else Outcome.CORRECT
        episodes.append(episode_of(rng, name, n_turns, outcome))
        heat = float(rng.random() + 0.5)
        trajectories += chat.trajectories(episodes[-1], heat, truncated=bool(rng.random() < 0.5))
    costs = tuple(EpisodeCost(3, 1, float(rng.random()), 0.1, 2) for _ in episodes)
    sample = sample_of(rng, name, photo)
    stats = RolloutStats()
    stats.count_group(episodes, trajectories)
    for n, episode in enumerate(episodes):
        for turn in episode.turns:
            stats.count_step(n, 0.5, {"strict": True, "lenient": bool(n % 2)}, turn)
    return Group(
        name, tuple(trajectories), tuple(episodes), sample, seed, f"{name}#2", costs, stats
    )
