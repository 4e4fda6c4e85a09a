"""`HighResVQA-v0`: questions about images that are larger than what the agent gets to see."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from . import rendering
from .actions.rules import BoxRules
from .checks import check_arguments, check_render_mode
from .crops import Cropper
from .datasets import Dataset
from .dialogues import Dialogue, Setup
from .grading import prepare
from .images import Budget, ImageStore
from .plugins import resolve
from .questions import Questions
from .records import Episode, Sample
from .referee import Referee
from .running import Info, Observation, Running, Setting
from .spaces import ImageSpace, UnicodeText


class HighResVQAEnv(gym.Env[Observation, str]):
    r"""Answer a question about a high-resolution image that is only shown scaled down.

    ## Description
    The agent gets a view of an image within a pixel budget and a question whose answer may be a
    detail that the view has lost. It may point at a region; the environment cuts that region out
    of the *original* and shows it enlarged. The only reward is for the final answer. Who may do
    what in which turn is the dialogue's affair:

    | dialogue | turns | rules |
    |---|---|---|
    | `mgpo` | 2 | forced: a box, then the crop and an answer (arXiv 2507.05920, as trained) |
    | `single_turn` | 1 | box and answer in one reply; no crop comes back (its GRPO baseline) |
    | `crop_only` | 2 | the answer is given from the crop alone, the view is hidden (2602.23615) |
    | `free` | 4 | the agent decides when to look and when to answer; it may zoom into a crop |

    ## Action space
    `UnicodeText`: the agent's reply, whole. Boxes are JSON, `[{"bbox_2d": [x1, y1, x2, y2]}]`,
    fenced or bare, or in another `box_form`; `"image_index"` says which of the images shown so far
    they refer to, counted from 0. The answer stands in `\boxed{}`. No text is an error.

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
    that was read for boxes (which in `free` a reply that only answers is not).

    | key | type | meaning |
    |---|---|---|
    | `question_id`, `dataset`, `split` | str | which question this is |
    | `category` | tuple of str | the dataset's categories |
    | `image_size` | (int, int) | width and height in pixels of the first image, original |
    | `view_size` | (int, int) | width and height in pixels of the first image, as seen |
    | `turn`, `max_turns` | int | replies given so far, and at most |
    | `outcome` | str | a value of `Outcome`: open, correct, wrong, no_answer, error |
    | `box` | 4 floats or () | x1, y1, x2, y2 of the first box, in pixels of its original |
    | `boxes` | tuple of 5 numbers | all boxes, each followed by the index of its original |
    | `box_raw` | 4 numbers or () | the first box as the agent wrote it |
    | `box_valid` | bool | is there a valid box |
    | `invalid_reason` | str | a value of `InvalidReason`, or empty |
    | `crop_size` | (int, int) or () | width and height in pixels of the first crop that came back |
    | `n_crops` | int | crops shown so far |
    | `answer` | str | what the grader understood; empty before the end |
    | `correct` | bool | did the grader accept it |
    | `system` | str | system text of the conversation, may be empty |
    | `error` | str | why it failed, with outcome `error` |
    | `stop` | tuple of str | strings at which the next reply should end |
    | `fresh` | bool | this user turn begins a new conversation: hide what came before |
    | `target` | tuple of str | accepted answers, only with `expose_target=True` |

    ## Rewards
    0 before the end; at the end the grader's score of the final reply (`strict`: 1 or 0). Nothing
    for boxes or for format, and no penalty for an invalid box; `wrappers.RewardShaping` adds such
    terms for who wants them. Where the answer itself is a box or points, it is written in the
    `box_dialect` and, without an image index, on the image that the question is about.

    ## Episode end
    *Terminated* after the reply that the dialogue takes as the final one, when its turns are used
    up, and when something inside the episode fails (outcome `error`, `episode.error` says why).
    Never *truncated*: limits from outside are a wrapper's affair.

    ## Starting state
    `reset(seed=s)` alone decides the question. `reset(options={"index": i})` or
    `{"question_id": "..."}` chooses it; `"dataset"` and `"split"` draw from another dataset.

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `dataset` | `"synthetic"` | a file in `datasets/`, or `my_pkg.my_module:load` |
    | `split` | `"test"` | one of the dataset's splits |
    | `dialogue` | `"mgpo"` | a file in `dialogues/`, or `my_pkg.my_module:Dialogue` |
    | `prompt` | `"paper"` | or `brief`, which explains nothing; Chinese questions: in Chinese |
    | `max_turns` | `None` | replies at most; `None`: the dialogue's own number |
    | `show_options` | `None` | show options while a box is asked for; `None`: the dialogue's way |
    | `min_pixels`, `max_pixels` | 256\*28\*28, 1280\*28\*28 | area of views and crops |
    | `factor` | 28 | pixels per image token and side: patch size x merge size of the model |
    | `box_dialect` | `"absolute"` | `absolute` (seen pixels), `relative_1000`, `relative_1` |
    | `box_form` | `"json"` | `json`, `qwen`, `tag` or `tool`, see `actions/forms.py` |
    | `box_parser` | `"strict"` | `strict` or `lenient`, see `actions/box.py` |
    | `box_frame` | `"original"` | what a box without index refers to: the `original` or the |
    | | | `last_image` shown |
    | `max_boxes` | 1 | boxes that are read per reply; the others are ignored |
    | `min_box` | `None` | sides of a box must be longer, in seen pixels; `None`: `factor` |
    | `box_small` | `"refuse"` | or `grow`: a smaller box grows to that size |
    | `box_outside` | `None` | `refuse` or `clamp`; `None`: strict refuses, lenient clamps |
    | `max_aspect` | 100 | boxes this thin, or thinner, are refused |
    | `crop` | `"real"` | or `none`, `blank`, `random`, `oracle`, `shuffled`: see `crops.py` |
    | `crop_margin` | 0 | added to each side before cutting, in shares of the box's sides |
    | `point_side` | `None` | read points too: each asks for the square of this share of the |
    | | | shown image's shorter side; `None`: points are no boxes |
    | `grader` | `"strict"` | a file in `grading/`, `"official:vstar"` ..., or `my.mod:name` |
    | `render_mode` | `None` | `rgb_array` (a fixed canvas), `ansi` (text) or `human` (a window) |
    | `expose_target` | `False` | put the gold answers into `info["target"]` |
    | `image_cache_mb` | 1024 | decoded images that are kept, in MiB |
    | others | | options of the dataset's loader, e.g. `root=`, `seed=`, `size=`; each of them |
    | | | takes `shuffle_options=SEED`: options in another order, the gold letter with them |

    Raises ValueError: which argument, what it got and expected; ImportError: a missing package.

    ## Transcript
    `gymnasium.make("HighResVQA-v0", prompt="brief", box_dialect="relative_1000")`, question
    `synthetic-0-test-0`; a slash stands for a new line:

        user:  <image 980x980> / What pattern is on the blue diamond? Give the box.
        agent: [{"bbox_2d": [312, 781, 408, 877]}]
        user:  <image 448x448> / What pattern is on the blue diamond? / A. horizontal /
               B. vertical / C. rising / D. falling / E. checker / F. lattice / Answer in \boxed{}.
        agent: Lines that fall to the right: \boxed{D}
        end:   outcome correct, reward 1.0

    ## Version history
    * v0: first version. A change of a prompt, parser, crop rule or grader is a new version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["human", "rgb_array", "ansi"],
        "render_fps": 1,
    }

    def __init__(
        self,
        dataset: str = "synthetic",
        split: str = "test",
        dialogue: str = "mgpo",
        prompt: str = "paper",
        max_turns: int | None = None,
        show_options: bool | None = None,
        min_pixels: int = 256 * 28 * 28,
        max_pixels: int = 1280 * 28 * 28,
        factor: int = 28,
        box_dialect: str = "absolute",
        box_form: str = "json",
        box_parser: str = "strict",
        box_frame: str = "original",
        max_boxes: int = 1,
        min_box: float | None = None,
        box_small: str = "refuse",
        box_outside: str | None = None,
        max_aspect: float = 100,
        crop: str = "real",
        crop_margin: float = 0,
        point_side: float | None = None,
        grader: str = "strict",
        render_mode: str | None = None,
        expose_target: bool = False,
        image_cache_mb: int = 1024,
        **dataset_options: Any,
    ) -> None:
        budget = Budget(factor, min_pixels, max_pixels)
        check_arguments(max_turns, show_options, crop_margin, expose_target, image_cache_mb)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        rules = BoxRules(
            parser=box_parser,
            dialect=box_dialect,
            form=box_form,
            min_side=factor if min_box is None else min_box,
            box_frame=box_frame,
            max_boxes=max_boxes,
            outside=box_outside,
            small=box_small,
            max_aspect=max_aspect,
            point_side=point_side,
        )
        box = (box_dialect, box_form, box_frame, max_boxes)
        setup = Setup(prompt, max_turns, *box, show_options, points=point_side is not None)
        talk: Dialogue = resolve("hrvision_env.dialogues", dialogue, "Dialogue")(setup)
        grade, kinds = prepare(grader)
        self.questions = Questions(dataset, split, dataset_options, also=_ARGUMENTS)
        setting = Setting(dialogue, prompt, talk.max_turns, expose_target, grader, crop)
        store = ImageStore(image_cache_mb << 20)
        cropper = Cropper(crop, store, budget, self.questions, crop_margin)
        self.referee = Referee(setting, talk, rules, grade, store, budget, cropper, kinds)
        self.action_space = UnicodeText()
        images = spaces.Sequence(ImageSpace(factor, max_pixels))
        self.observation_space = spaces.Dict([("text", UnicodeText()), ("images", images)])
        self._running: Running | None = None
        self._window: rendering.Window | None = None

    # -- Gymnasium's interface

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode; the class's docstring says how the question is chosen.

        Raises ValueError for an unknown option or a bad value and for a question that the grader
        cannot grade, IndexError or KeyError for a question that does not exist,
        ImageError for an image that cannot be opened.
        """
        sample = self.choose(seed, options)
        return self.play(self.referee.begin(sample, self.referee.look(sample)))

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
            self.referee.advance(running, action)
        except Exception as error:  # an episode that fails is data; the run goes on
            running.fail(f"{type(error).__name__}: {error}")
        self._show()
        done = not running.open
        return running.observation(), running.reward, done, False, running.info()

    def render(self) -> Any:
        """`rgb_array`: [H, W, 3] uint8, `rendering.CANVAS`: the view with the boxes of the last
        reply, the crops, the transcript. `ansi`: the same in words. `human`: None, a window."""
        if self.render_mode == "rgb_array":
            return rendering.draw(self._running, self.referee.rules)
        if self.render_mode == "ansi":
            return rendering.text(self._running)
        self._show()
        return None

    def close(self) -> None:
        """Close the window and free the images."""
        if self._window is not None:
            self._window.close()
            self._window = None
        self.referee.store.close()

    # -- Records

    @property
    def dataset(self) -> Dataset:
        """The samples of the dataset and split that the environment was made for."""
        return self.questions.dataset

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

    # -- The parts of reset, for environments that begin several episodes on the same views

    def choose(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Sample:
        """Draw or look up the sample that `reset` with the same arguments would begin with."""
        super().reset(seed=seed)
        sample = self.questions.pick(self.np_random, options)
        self.referee.check(sample)
        return sample

    def prefetch(self, questions: Iterable[int | str]) -> None:
        """Open the images of questions to come (indices or ids) in the background; their originals
        too where there are turns to look at crops.

        Raises IndexError or KeyError for a question that does not exist. An image that fails is
        reported by the `reset` that needs it.
        """
        refs = [ref for sample in self.questions.named(questions) for ref in sample.images]
        crops = self.referee.setting.max_turns > 1 and not self.referee.cropper.hides
        self.referee.store.prefetch(refs, self.referee.budget, originals=crops)

    def play(self, running: Running) -> tuple[Observation, Info]:
        """Go on with an episode that was begun elsewhere, by a referee of the same arguments."""
        self._running = running
        self._show()
        return running.observation(), running.info()

    def forget(self) -> None:
        """Drop the current episode; as before the first reset."""
        self._running = None

    def sibling(self) -> HighResVQAEnv:
        """Another environment with the same arguments that shares datasets and image cache."""
        twin = copy.copy(self)
        twin._running = twin._window = twin._np_random = None
        twin.action_space = copy.deepcopy(self.action_space)
        twin.observation_space = copy.deepcopy(self.observation_space)
        return twin

    # -- Inside

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window = self._window or rendering.Window()
            self._window.show(rendering.draw(self._running, self.referee.rules))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}


_ARGUMENTS = tuple(inspect.signature(HighResVQAEnv).parameters)[:-1]
