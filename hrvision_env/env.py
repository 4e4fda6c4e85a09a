"""`HighResVQA-v0`: questions about images that are larger than what the agent gets to see."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from PIL import Image

from . import datasets
from .actions import Refusal
from .actions.box import BoxRules
from .checks import check_int, check_options, check_pixels
from .dialogues import Dialogue, UserTurn
from .grading import Grader
from .images import Frame, ImageStore, crop, fit_size, resize
from .plugins import resolve
from .records import Box, Episode, Outcome, Sample, Turn
from .rendering import CANVAS, draw
from .running import Info, Observation, Running, Scene, Setting
from .spaces import ImageSpace, UnicodeText


class HighResVQAEnv(gym.Env[Observation, str]):
    r"""Answer a question about a high-resolution image that is only shown scaled down.

    ## Description
    The agent gets a view of an image within a pixel budget and a question whose answer may be a
    detail that the view has lost. It may point at a region; the environment cuts that region out
    of the *original* and shows it enlarged. The only reward is for the final answer. Who may do
    what in which turn is the dialogue's affair: `mgpo` forces one box and then one answer,
    `single_turn` asks for both in one reply and shows no crop.

    ## Action space
    `UnicodeText`: the agent's reply, whole. Boxes are JSON, `[{"bbox_2d": [x1, y1, x2, y2]}]`,
    fenced or bare; the answer stands in `\boxed{}`. Every text is a legal action.

    ## Observation space
    Only the new user turn; `wrappers.ChatHistory` gives the whole conversation. The observation
    after the last reply is empty (`""` and `()`).

    | key      | space                  | unit   | content                                         |
    |----------|------------------------|--------|-------------------------------------------------|
    | `text`   | `UnicodeText`          | -      | what is said, one `<image>` marker per image    |
    | `images` | `Sequence(ImageSpace)` | pixels | RGB PIL images, in the order of the markers;    |
    |          |                        |        | sides are multiples of `factor`, area at most   |
    |          |                        |        | `max_pixels`; shared, so do not modify them     |

    ## Info
    The same keys with the same types after every reset and step. Box keys speak of the last reply
    that was asked for a box.

    | key | type | meaning |
    |---|---|---|
    | `question_id`, `dataset`, `split` | str | which question this is |
    | `category` | tuple of str | the dataset's categories |
    | `image_size` | (int, int) | width and height in pixels of the first image, original |
    | `view_size` | (int, int) | width and height in pixels of the first image, as seen |
    | `turn`, `max_turns` | int | replies given so far, and at most |
    | `outcome` | str | a value of `Outcome`: open, correct, wrong, no_answer, error |
    | `box` | 4 floats or () | x1, y1, x2, y2 in pixels of the original |
    | `box_raw` | 4 numbers or () | as the agent wrote them |
    | `box_valid` | bool | is there a valid box |
    | `invalid_reason` | str | a value of `InvalidReason`, or empty |
    | `crop_size` | (int, int) or () | width and height in pixels of the crop that came back |
    | `n_crops` | int | crops shown so far |
    | `answer` | str | what the grader understood; empty before the end |
    | `correct` | bool | did the grader accept it |
    | `system` | str | system text of the conversation, may be empty |
    | `stop` | tuple of str | strings at which the next reply should end |
    | `target` | tuple of str | accepted answers, only with `expose_target=True` |

    ## Rewards
    0 before the end; at the end 1 if the grader accepts the final reply, else 0. Nothing for
    boxes or for format, and no penalty for an invalid box.

    ## Episode end
    *Terminated* after the reply that the dialogue takes as the final one, and when something
    inside the episode fails (outcome `error`, `episode.error` says why). Never *truncated*.

    ## Starting state
    `reset(seed=s)` alone decides the question. `reset(options={"index": i})` or
    `{"question_id": "..."}` chooses it; `"dataset"` and `"split"` draw from another dataset.

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `dataset` | `"synthetic"` | a file in `datasets/`, or `my_pkg.my_module:load` |
    | `split` | `"test"` | one of the dataset's splits |
    | `dialogue` | `"mgpo"` | a file in `dialogues/` |
    | `prompt` | `"paper"` | a prompt id of the dialogue: `paper` or `brief` |
    | `max_turns` | `None` | replies at most; `None`: the dialogue's own number |
    | `min_pixels`, `max_pixels` | 256\*28\*28, 1280\*28\*28 | area of views and crops |
    | `factor` | 28 | pixels per image token and side: patch size x merge size of the model |
    | `box_dialect` | `"absolute"` | `absolute` (view pixels), `relative_1000`, `relative_1` |
    | `box_parser` | `"strict"` | `strict` or `lenient`, see `actions/box.py` |
    | `min_box` | `None` | sides of a box must be longer, in view pixels; `None`: `factor` |
    | `grader` | `"strict"` | a file in `grading/`, or `my_pkg.my_module:grade` |
    | `render_mode` | `None` | `"rgb_array"`: view, box and crop on a fixed canvas |
    | `expose_target` | `False` | put the gold answers into `info["target"]` |
    | others | | options of the dataset's loader, e.g. `root=`, `seed=`, `size=` |

    ```python
    env = gymnasium.make("HighResVQA-v0", dataset="jsonl", root="photos", prompt="paper")
    ```

    Raises ValueError that names the argument, what it got and what it expected.

    ## Version history
    * v0: first version. A change of a prompt, parser, crop rule or grader is a new version.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        dataset: str = "synthetic",
        split: str = "test",
        dialogue: str = "mgpo",
        prompt: str = "paper",
        max_turns: int | None = None,
        min_pixels: int = 256 * 28 * 28,
        max_pixels: int = 1280 * 28 * 28,
        factor: int = 28,
        box_dialect: str = "absolute",
        box_parser: str = "strict",
        min_box: float | None = None,
        grader: str = "strict",
        render_mode: str | None = None,
        expose_target: bool = False,
        **dataset_options: Any,
    ) -> None:
        check_pixels(factor, min_pixels, max_pixels)
        check_int("max_turns", 1 if max_turns is None else max_turns)
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            modes = self.metadata["render_modes"]
            raise ValueError(f"render_mode: got {render_mode!r}, expected None or one of {modes}")
        self.factor, self.min_pixels, self.max_pixels = factor, min_pixels, max_pixels
        self.rules = BoxRules(box_parser, box_dialect, factor if min_box is None else min_box)
        self.render_mode = render_mode
        make_dialogue = resolve("hrvision_env.dialogues", dialogue, "Dialogue")
        self.dialogue: Dialogue = make_dialogue(prompt, max_turns, box_dialect)
        self.grade: Grader = resolve("hrvision_env.grading", grader, "grade")
        datasets.check_options(dataset, dataset_options, also=_ARGUMENTS)
        self._options = dataset_options
        self.dataset = datasets.load(dataset, split, **dataset_options)
        self._datasets = {(dataset, split): self.dataset}
        self.setting = Setting(
            dataset,
            split,
            dialogue,
            prompt,
            self.dialogue.system,
            self.dialogue.max_turns,
            expose_target,
        )
        self.store = ImageStore()
        self.action_space = UnicodeText()
        self.observation_space = spaces.Dict(
            [("text", UnicodeText()), ("images", spaces.Sequence(ImageSpace(factor, max_pixels)))]
        )
        self._running: Running | None = None

    # -- Gymnasium's interface

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode; the class's docstring says how the question is chosen.

        Raises ValueError for an unknown option or a bad value, IndexError or KeyError for a
        question that does not exist, ImageError for an image that cannot be opened.
        """
        sample = self.choose(seed, options)
        return self.begin(sample, self.look(sample))

    def step(self, action: str) -> tuple[Observation, float, bool, bool, Info]:
        """Take the agent's reply. Raises TypeError for anything but a str, ResetNeeded without an
        open episode; whatever else fails ends the episode with outcome `error`."""
        if not isinstance(action, str):
            raise TypeError(
                f"action: got {type(action).__name__}, expected str (the agent's reply)"
            )
        running = self._running
        if running is None or not running.open:
            raise gym.error.ResetNeeded("step: there is no open episode, call reset first")
        try:
            self._advance(running, action)
        except Exception as error:  # an episode that fails is data; the run goes on
            running.fail(f"{type(error).__name__}: {error}")
        done = not running.open
        return running.observation(), running.reward, done, False, running.info()

    def render(self) -> np.ndarray | None:
        """[480, 960, 3] uint8: the view with the last box on the left, its crop on the right."""
        if self.render_mode is None:
            return None
        running = self._running
        if running is None or not running.scene.views:
            return np.zeros(CANVAS, dtype=np.uint8)
        box = running.boxed.box if running.boxed else None
        index = box.image_index if box else 0
        return draw(running.scene.views[index], running.scene.frames[index], box, running.crop)

    # -- Records

    @property
    def running(self) -> Running:
        """The state of the current episode. Raises ResetNeeded before the first reset."""
        if self._running is None:
            raise gym.error.ResetNeeded("there is no episode yet, call reset first")
        return self._running

    @property
    def episode(self) -> Episode:
        """The record of the current episode as it stands."""
        return self.running.episode()

    @property
    def sample(self) -> Sample:
        """The current sample, gold answer and boxes included."""
        return self.running.sample

    def info(self) -> Info:
        """The info of the last reset or step."""
        return self.running.info()

    def fail(self, error: str) -> None:
        """End the current episode with outcome `error` and reward 0, because something outside
        (such as the agent's engine) failed. Raises ResetNeeded when it has ended already."""
        if not self.running.open:
            raise gym.error.ResetNeeded("fail: there is no open episode")
        self.running.fail(error)

    # -- The parts of reset, for environments that begin several episodes on one scene

    def choose(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Sample:
        """Draw or look up the sample that `reset` with the same arguments would begin with."""
        super().reset(seed=seed)
        options = check_options({} if options is None else options)
        name = options.get("dataset", self.setting.dataset)
        split = options.get("split", self.setting.split)
        dataset = self._dataset(name, split)
        if "question_id" in options:
            index = dataset.index(options["question_id"])
        elif "index" in options:
            index = int(options["index"])
        else:
            index = int(self.np_random.integers(len(dataset)))
        sample = dataset[index]
        return replace(sample, source=sample.source or name, split=sample.split or split)

    def look(self, sample: Sample) -> Scene:
        """Open the images of a sample and scale them to views. Raises ImageError."""
        views, frames = [], []
        for ref in sample.images:
            original = self.store.open(ref, sample.id)
            size = fit_size(*original.size, self.factor, self.min_pixels, self.max_pixels)
            views.append(resize(original, size))
            frames.append(Frame(original.size, size))
        return Scene(tuple(views), tuple(frames))

    def begin(self, sample: Sample, scene: Scene) -> tuple[Observation, Info]:
        """Begin an episode on a scene that is already opened."""
        user = self.dialogue.first(sample)
        self._running = Running(self.setting, sample, scene, user, scene.views)
        return self._running.observation(), self._running.info()

    def begin_failed(self, sample: Sample, error: str) -> tuple[Observation, Info]:
        """Record an episode that could not begin, with outcome `error`."""
        self._running = Running(self.setting, sample, Scene(), UserTurn(""), ())
        self._running.fail(error)
        return self._running.observation(), self._running.info()

    def forget(self) -> None:
        """Drop the current episode; as before the first reset."""
        self._running = None

    def sibling(self) -> HighResVQAEnv:
        """Another environment with the same arguments that shares datasets and image cache."""
        twin = copy.copy(self)
        twin._running = None
        twin._np_random = None
        twin.action_space = copy.deepcopy(self.action_space)
        twin.observation_space = copy.deepcopy(self.observation_space)
        return twin

    # -- Inside

    def _advance(self, running: Running, reply: str) -> None:
        number = len(running.turns)
        turn = Turn(running.user.text, len(running.images), reply)
        if self.dialogue.wants_box(number):
            turn = self._read_box(turn, running.scene.frames)
            running.boxed, running.crop = turn, None
        running.turns.append(turn)
        user = self.dialogue.next(running.sample, number, reply, turn.box)
        if user is None:
            self._finish(running, reply)
            return
        images = running.scene.views
        if user.crop and turn.box:
            running.crop = self._crop(running.sample, turn.box)
            running.boxed = running.turns[-1] = replace(turn, crop_size=running.crop.size)
            images = (running.crop,)
        running.user, running.images = user, images

    def _read_box(self, turn: Turn, frames: tuple[Frame, ...]) -> Turn:
        reading = self.rules.read(turn.reply, frames)
        if isinstance(reading, Refusal):
            raw = reading.numbers
            return replace(turn, box_raw=raw, invalid_reason=reading.reason.value)
        box, action = reading
        return replace(turn, box=box, box_raw=action.numbers)

    def _crop(self, sample: Sample, box: Box) -> Image.Image:
        original = self.store.open(sample.images[box.image_index], sample.id)
        return crop(original, box, self.factor, self.min_pixels, self.max_pixels)

    def _finish(self, running: Running, reply: str) -> None:
        verdict = self.grade(running.sample, reply)
        running.answer, running.reward = verdict.extracted, float(verdict.score)
        if verdict.correct:
            running.outcome = Outcome.CORRECT
        else:
            running.outcome = Outcome.WRONG if verdict.extracted else Outcome.NO_ANSWER

    def _dataset(self, name: str, split: str) -> datasets.Dataset:
        if (name, split) not in self._datasets:
            # Another dataset does not take the options of the one this environment was made for.
            options = self._options if name == self.setting.dataset else {}
            self._datasets[name, split] = datasets.load(name, split, **options)
        return self._datasets[name, split]


_ARGUMENTS = tuple(HighResVQAEnv.__init__.__annotations__)
