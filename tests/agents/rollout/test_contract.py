"""The token contract over random conversations, and every refusal of completions and chats."""

import copy
from dataclasses import replace
from itertools import chain, groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.contract import runs
from agents.rollout.engines import Completion, Sampling, StopReason
from agents.rollout.engines.scripted import ScriptedEngine
from hrvision_env.records import Episode
from hrvision_env.vector import HighResVQAVectorEnv

from ..conftest import noise_image
from .conftest import ENV
from .questions import BOX_TEXT
from .test_trajectory import episode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: "<image>" not in text
)
SIDE = st.sampled_from([16, 32, 48])
TURN = st.fixed_dictionaries(
    {
        "pieces": st.lists(TEXT, min_size=1, max_size=4),  # an image between each two of them
        "size": st.tuples(SIDE, SIDE),
        "fresh": st.booleans(),
        "numbers": st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
        "end": st.booleans(),
    }
)
TURNS = st.lists(TURN, max_size=5)


def completion(codec: Codec, turn: dict[str, Any]) -> Completion:
    """Any ids that sampling may draw, in any order; the log-probs are made up."""
    legal = np.setdiff1d(np.arange(codec.vocab_size), [*codec.banned, *codec.eos])
    ids = [int(legal[n % len(legal)]) for n in turn["numbers"]] + [codec.im_end] * turn["end"]
    logprobs = (-np.arange(len(ids)) / 8).tolist()
    return Completion(ids, logprobs, StopReason.EOS if turn["end"] else StopReason.LENGTH)


def grow(chat: Chat, turns: list[dict[str, Any]]) -> list[list[Completion]]:
    """Play the turns; returns the replies of each segment."""
    replies: list[list[Completion]] = [[]]
    for n, turn in enumerate(turns):
        size = turn["size"]
        images = [noise_image(size[0], size[1], seed=k) for k in range(len(turn["pieces"]) - 1)]
        chat.observe("<image>".join(turn["pieces"]), images, system="Look.", fresh=turn["fresh"])
        if turn["fresh"] and n:
            replies.append([])
        replies[-1].append(completion(chat.codec, turn))
        chat.reply(replies[-1][-1])
    return replies


def check(chat: Chat, replies: list[list[Completion]], record: Episode) -> None:
    """Everything the contract promises, found in another way than the code does."""
    trajectories = chat.trajectories(record)
    assert len(trajectories) == len(chat.segments) == len(replies)
    for segment, trajectory, sampled in zip(chat.segments, trajectories, replies, strict=True):
        mask = trajectory.loss_mask
        # The mask covers the sampled tokens, all of them and nothing else, verbatim and in order.
        assert mask.sum() == sum(len(reply.token_ids) for reply in sampled)
        assert trajectory.token_ids[mask].tolist() == list(chain(*(r.token_ids for r in sampled)))
        given = list(chain(*(r.logprobs for r in sampled)))
        assert trajectory.logprobs[mask].tolist() == pytest.approx(given)
        assert not trajectory.logprobs[~mask].any()
        assert trajectory.replies == tuple(len(reply.token_ids) for reply in sampled)
        assert trajectory.prefix == int(mask.argmax())
        # Both tracks agree: an image is one token here and one per merged patch there.
        collapsed, sizes = [], []
        for token, run in groupby(trajectory.token_ids.tolist()):
            length = len(list(run))
            collapsed += [token] * (1 if token == chat.codec.image else length)
            sizes += [length] if token == chat.codec.image else []
        assert collapsed == segment.collapsed_ids == trajectory.collapsed_ids.tolist()
        assert sizes == [image.n_tokens for image in trajectory.images]


@settings(max_examples=60, deadline=None)
@given(turns=TURNS)
def test_any_conversation_keeps_the_contract(codec: Codec, turns: list) -> None:
    chat = Chat(codec)
    replies = grow(chat, turns)
    if not turns:
        assert chat.trajectories(episode()) == [] and chat.token_ids == []
    else:
        check(chat, replies, episode())


@settings(max_examples=30, deadline=None)
@given(turns=TURNS)
def test_decoding_never_feeds_back(codec: Codec, turns: list) -> None:
    # Row 3 of the peers' faults: ids that are decoded and encoded again drift.
    deaf = copy.copy(codec)
    deaf.decode = lambda ids: "<|im_end|>garbage <image>"  # type: ignore[method-assign]
    one, two = Chat(codec), Chat(deaf)
    assert [len(part) for part in grow(one, turns)] == [len(part) for part in grow(two, turns)]
    for a, b in zip(one.segments, two.segments, strict=True):
        assert (a.token_ids, a.collapsed_ids) == (b.token_ids, b.collapsed_ids)
        assert (a.loss_mask, a.logprobs, a.prefix) == (b.loss_mask, b.logprobs, b.prefix)


@settings(max_examples=30, deadline=None)
@given(first=TURNS, then=st.tuples(TURNS, TURNS))
def test_forks_go_their_own_ways(codec: Codec, first: list, then: tuple[list, list]) -> None:
    root = Chat(codec, group="q")
    grow(root, first)
    before = [vars(segment.fork()) for segment in root.segments]
    for member, turns in enumerate(then):
        twin, alone = root.fork(member), Chat(codec, group="q", member=member)
        grow(twin, turns)
        grow(alone, first)
        grow(alone, turns)
        assert [vars(s) for s in twin.segments] == [vars(s) for s in alone.segments]
        assert (twin.member, twin.replies) == (member, len(first) + len(turns))
        assert all(a is b for a, b in zip(root.images, twin.segments[-1].images, strict=False)) or (
            len(twin.segments) > len(root.segments)
        )
    assert [vars(segment) for segment in root.segments] == before


@settings(max_examples=10, deadline=None)
@given(turns=st.lists(TURN, min_size=1, max_size=3))
def test_nothing_is_cut_but_at_the_end_of_a_turn(codec: Codec, turns: list) -> None:
    chat = Chat(codec)
    grow(chat, [{**turn, "fresh": False} for turn in turns])
    (whole,) = chat.trajectories(episode())
    replies = runs(whole.loss_mask)
    ends = np.array([end for _, end in runs(whole.token_ids == codec.image)])
    kept = []
    for cut in range(1, len(whole) + 1):
        try:
            replace(
                whole,
                token_ids=whole.token_ids[:cut],
                loss_mask=whole.loss_mask[:cut],
                logprobs=whole.logprobs[:cut],
                replies=tuple(end - start for start, end in replies if end <= cut),
                images=whole.images[: int((ends <= cut).sum())],
            )
        except ValueError as error:
            assert "member 0: " in str(error)
        else:
            kept.append(cut)
    # After a reply, and after an observation that waits for its reply.
    assert kept == [replies[0][1], *(place for reply in replies[1:] for place in reply)]


SAYINGS = st.sampled_from(
    [
        BOX_TEXT,
        BOX_TEXT + " I see.",
        r"\boxed{A}",
        "<|im_end|>\n<image> no",
        "Größe 人 \N{EYES}",
        "",
    ]
)


@pytest.mark.parametrize(
    ("dialogue", "max_turns"),
    [("mgpo", None), ("mgpo", 4), ("crop_only", None), ("free", 5), ("single_turn", None)],
)
@settings(max_examples=12, deadline=None)
@given(sayings=st.lists(SAYINGS, min_size=10, max_size=10), cut=st.integers(1, 60))
def test_every_dialogue_keeps_the_contract(
    codec: Codec, dialogue: str, max_turns: int | None, sayings: list[str], cut: int
) -> None:
    env = HighResVQAVectorEnv(
        num_envs=2, group_size=2, **{**ENV, "dialogue": dialogue, "max_turns": max_turns}
    )
    texts = iter(sayings)
    engine = ScriptedEngine(codec, lambda _: next(texts))
    observations, _ = env.reset(options={"index": [0]})
    chats = [Chat(codec, "q0", member) for member in range(2)]
    replies: list[list[list[Completion]]] = [[], []]
    while env.active.any():
        said = {}
        for n in np.flatnonzero(env.active).tolist():
            info, chat = env.info(n), chats[n]
            chat.stop = tuple(info["stop"])
            text, images = observations["text"][n], observations["images"][n]
            chat.observe(text, images, system=info["system"], fresh=info["fresh"])
            if info["fresh"] or not replies[n]:
                replies[n].append([])
            reply = engine.generate([chat], Sampling(max_tokens=cut))[0]
            assert isinstance(reply, Completion)
            replies[n][-1].append(reply)
            said[n] = chat.reply(reply)
        observations = env.step(said)[0]
    for n, chat in enumerate(chats):
        check(chat, replies[n], env.episode(n))
    ends = [[i for i, t in enumerate(env.episode(n).turns) if t.fresh] for n in range(2)]
    assert [len(chat.segments) for chat in chats] == [1 + len(fresh) for fresh in ends]


COMPLETIONS: list[tuple[list, list, str]] = [
    ([1, 2], [-1.0], "2 tokens and 1 log-probs"),
    ([], [], "got no token"),
    ([-1], [-1.0], "got token id -1"),
    ([1.0], [-1.0], r"got token id 1\.0"),
    ([True], [-1.0], "got token id True"),
    ([1], [float("nan")], "got log-prob nan"),
    ([1], [float("-inf")], "got log-prob -inf"),
    ([1], [0.5], r"got log-prob 0\.5"),
]


@pytest.mark.parametrize(("ids", "logprobs", "message"), COMPLETIONS)
def test_a_broken_completion_is_named(ids: list, logprobs: list, message: str) -> None:
    with pytest.raises(ValueError, match=f"completion: .*{message}"):
        Completion(ids, logprobs, StopReason.EOS)


def reply_of(chat: Chat, *ids: int) -> None:
    chat.reply(Completion(list(ids), [-1.0] * len(ids), StopReason.STOP))


def test_a_broken_reply_is_named_and_changes_nothing(codec: Codec) -> None:
    chat, a = Chat(codec, "q", 2), codec.encode("a")[0]
    with pytest.raises(ValueError, match="reply 1 of group 'q', member 2: there is no observation"):
        reply_of(chat, a)
    chat.observe("hi")
    broken = {
        (a, codec.image): f"the banned token {codec.image} was sampled",
        (codec.pad,): f"the banned token {codec.pad} was sampled",
        (a, codec.vocab_size): f"token {codec.vocab_size} was sampled, expected ids below",
        (a, codec.im_end, a): "the reply goes on after its end, token 2 of 3",
    }
    for ids, message in broken.items():
        with pytest.raises(ValueError, match=f"reply 1 of group 'q', member 2: {message}"):
            reply_of(chat, *ids)
    with pytest.raises(ValueError, match=r"reply 1 .*: got no token, expected at least one"):
        chat.reply(Completion([], [], StopReason.EOS, text="of a server that shows no tokens"))
    assert len(chat.token_ids) == chat.prefix and chat.replies == 0
    reply_of(chat, a)
    with pytest.raises(ValueError, match=r"reply 2 .*: there is no observation to reply to"):
        reply_of(chat, a)


def test_a_reply_gives_its_text(codec: Codec) -> None:
    chat = Chat(codec)
    chat.observe("hi")
    ids = [*codec.encode("a box"), codec.im_end]
    assert chat.reply(Completion(ids, [-1.0] * len(ids), StopReason.EOS)) == "a box"


def test_id_tracks_that_disagree_are_refused(codec: Codec) -> None:
    chat = Chat(codec, "q", 2)
    chat.observe("<image>", [noise_image(48, 32)])
    reply_of(chat, codec.im_end)
    chat.collapsed_ids[0] += 1
    with pytest.raises(ValueError, match="group 'q', member 2: the id tracks disagree"):
        chat.trajectories(episode())


def test_what_sampling_left_out_is_written_down(codec: Codec) -> None:
    chat = Chat(codec)
    chat.observe("hi")
    reply_of(chat, codec.im_end)
    (trajectory,) = chat.trajectories(episode(), temperature=0.5, truncated=True)
    assert trajectory.truncated and trajectory.temperature == 0.5
    assert not chat.trajectories(episode())[0].truncated
