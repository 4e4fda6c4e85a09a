"""What every engine with tokens must do, as tests that any of them can run.

    class TestMine(TokenEngineSuite): ...

beside three fixtures of at least class scope:

    model_folder      a model folder in float32
    engine_factory    engine_factory(folder, **options) -> Engine with that folder's weights; the
                      suite keeps one alive at a time and leaves the weights as they were
    context           int, the longest conversation that those engines take, in tokens
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.rollout.chat import Chat
from agents.rollout.engines import Completion, Engine, Failure, Sampling, StopReason
from agents.vlm import VLM

from ...helpers import public_logits
from .talking import (
    TOLERANCE,
    add_crops,
    changed_weights,
    complete,
    distance,
    legal_probs,
    openings,
    own_greedy,
    picture,
    say,
    tokens,
    truncated_probs,
    two_turns,
)

EngineFactory = Callable[..., Engine]


class TokenEngineSuite:
    """The tests. Their models are random, so each reply wanders over the vocabulary."""

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, model_folder: str) -> VLM:
        """The weights that the engine starts with, in transformers."""
        return VLM.load(model_folder)

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, engine_factory: EngineFactory, model_folder: str) -> Engine:
        return engine_factory(model_folder)

    @pytest.fixture
    def engine(self, shared: Engine, model_folder: str) -> Iterator[Engine]:
        """The engine; a test that changes its weights or version finds them restored after it."""
        version = shared.policy_version
        yield shared
        if shared.policy_version != version:
            shared.load_weights(VLM.load(model_folder), version)

    @pytest.mark.parametrize("temperature", [1.0, 0.6])
    def test_logprobs_are_the_models_own(
        self, engine: Engine, reference: VLM, temperature: float
    ) -> None:
        # Two turns with an image each: wrong positions of the crop would show here.
        chats = two_turns(engine, Sampling(max_tokens=9, temperature=temperature, seed=4))
        assert distance(reference, chats, temperature) < TOLERANCE
        assert all(chat.replies == 2 for chat in chats)

    def test_greedy_is_that_of_transformers(self, engine: Engine, reference: VLM) -> None:
        chats = openings(engine, (2, 1))
        for turn in range(2):
            expected = [own_greedy(reference, chat, 8) for chat in chats]
            for seed in (0, 1):
                sampling = Sampling(max_tokens=8, temperature=0.0, seed=seed)
                assert tokens(engine, chats, sampling) == expected, f"turn {turn}, seed {seed}"
            say(engine, chats, Sampling(max_tokens=8, temperature=0.0))
            if turn == 0:
                add_crops(chats)
        # Greedy replies are scored by the model's own distribution, T = 1.
        assert distance(reference, chats) < TOLERANCE

    @pytest.mark.parametrize(
        "sampling",
        [
            Sampling(max_tokens=10, seed=7),
            Sampling(max_tokens=10, seed=7, temperature=1.4, top_p=0.8, top_k=40, min_p=0.01),
        ],
        ids=["all", "truncated"],
    )
    def test_draws_do_not_depend_on_the_batch(self, engine: Engine, sampling: Sampling) -> None:
        chats = openings(engine, (3, 3, 2))
        together = tokens(engine, chats, sampling)
        assert together == [tokens(engine, [chat], sampling)[0] for chat in chats]
        assert together == tokens(engine, chats[::-1], sampling)[::-1]

    def test_draws_depend_on_seed_group_member_and_turn(self, engine: Engine) -> None:
        chat = openings(engine, (1,))[0]
        sampling = Sampling(max_tokens=10)
        others = [chat.fork(1), chat.fork(0), chat.fork(0)]
        others[1].group, others[2].replies = "another", 1
        base = tokens(engine, [chat], sampling)[0]
        drawn = tokens(engine, others, sampling)
        drawn += tokens(engine, [chat], replace(sampling, seed=1))
        assert base == tokens(engine, [chat], sampling)[0]
        assert base not in drawn and len(set(map(tuple, drawn))) == 4

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    def test_banned_tokens_are_never_sampled(
        self, engine: Engine, model_folder: str, temperature: float
    ) -> None:
        leaning: Any = VLM.load(model_folder)
        banned = list(leaning.codec.banned)
        with torch.no_grad():
            leaning.lm_head.weight[banned] *= 30.0
        engine.load_weights(leaning, engine.policy_version + 1)
        chats = openings(engine)
        say(engine, chats, Sampling(max_tokens=12, temperature=temperature))
        wanted = []
        for chat in chats:
            sampled = np.flatnonzero(chat.loss_mask)
            assert not set(np.array(chat.token_ids)[sampled].tolist()) & set(banned)
            with torch.no_grad():
                probs = public_logits(leaning, chat).softmax(-1).numpy()
            wanted.append(probs[sampled - 1][:, banned].sum(-1))
        # The model wanted them most of the time, and the ban takes part in the normalisation.
        assert np.concatenate(wanted).mean() > 0.5
        assert distance(leaning, chats) < TOLERANCE

    def test_a_stop_string_ends_at_its_last_token(self, engine: Engine) -> None:
        chats = openings(engine, (4, 4, 4))
        codec, sampling = chats[0].codec, Sampling(max_tokens=40, seed=2)
        free = complete(engine, chats, sampling)
        for chat, whole in zip(chats, free, strict=True):
            # The first two neighbours that are letters: a string that spans tokens.
            pairs = [codec.decode(whole.token_ids[n : n + 2]) for n in range(39)]
            chat.stop = ("never said", *[p for p in pairs if len(p) > 1 and p.isalnum()][:1])
        reached = 0
        for chat, whole, cut in zip(chats, free, complete(engine, chats, sampling), strict=True):
            said = [codec.decode(whole.token_ids[:n]) for n in range(len(whole.token_ids) + 1)]
            ends = [n for n, text in enumerate(said) if chat.stop[-1] in text]
            if not ends:
                assert cut.token_ids == whole.token_ids
                continue
            reached += 1
            assert cut.token_ids == whole.token_ids[: ends[0]]
            if ends[0] < len(whole.token_ids):
                assert cut.stop_reason is StopReason.STOP
            np.testing.assert_allclose(cut.logprobs, whole.logprobs[: ends[0]], atol=TOLERANCE)
        assert reached >= 6

    def test_max_tokens_ends(self, engine: Engine) -> None:
        reasons = []
        for limit in (1, 3):
            for completion in complete(engine, openings(engine), Sampling(limit, seed=5)):
                assert len(completion.token_ids) == len(completion.logprobs) <= limit
                if len(completion.token_ids) < limit:
                    assert completion.stop_reason is StopReason.EOS
                reasons.append(completion.stop_reason)
        assert reasons.count(StopReason.LENGTH) > len(reasons) / 2

    def test_the_end_of_turn_ends(self, engine: Engine, model_folder: str) -> None:
        leaning: Any = VLM.load(model_folder)
        eos, sampling = leaning.codec.eos, Sampling(max_tokens=60, seed=1)
        with torch.no_grad():
            leaning.lm_head.weight[list(eos)] *= 4.0
        engine.load_weights(leaning, engine.policy_version + 1)
        ended = 0
        for completion in complete(engine, openings(engine, (8, 8)), sampling):
            assert not set(completion.token_ids[:-1]) & set(eos)
            if completion.stop_reason is StopReason.EOS:
                ended += 1
                assert completion.token_ids[-1] in eos
        assert ended >= 8

    @pytest.mark.parametrize(
        "cut",
        [
            {"top_p": 0.5},
            {"top_k": 5},
            {"min_p": 0.3},
            {"top_p": 0.7, "top_k": 12},
            {"top_p": 0.8, "top_k": 8, "min_p": 0.05},
        ],
        ids=lambda cut: "+".join(cut),
    )
    def test_truncated_sampling_is_renormalised(
        self, engine: Engine, reference: VLM, cut: dict[str, Any]
    ) -> None:
        sampling = Sampling(max_tokens=6, temperature=1.5, seed=3, **cut)
        chats = two_turns(engine, sampling)
        sizes, left_out = [], 0.0
        for chat in chats:
            probs = legal_probs(reference, chat, sampling.temperature)
            for t in np.flatnonzero(chat.loss_mask):
                expected = truncated_probs(probs[t - 1], sampling)
                token = chat.token_ids[t]
                assert expected[token] > 0
                assert abs(chat.logprobs[t] - np.log(expected[token])) < TOLERANCE
                sizes.append(int((expected > 0).sum()))
                left_out += probs[t - 1][expected == 0].sum()
        assert max(sizes) > 1 and left_out > 1.0

    def test_truncated_sampling_draws_all_that_is_left(
        self, engine: Engine, reference: VLM
    ) -> None:
        root = openings(engine, (1,))[0]
        sampling = Sampling(max_tokens=1, temperature=2.0, top_k=3)
        drawn = tokens(engine, [root.fork(n) for n in range(64)], sampling)
        probs = legal_probs(reference, root, sampling.temperature)[-1]
        assert {ids[0] for ids in drawn} == set(np.argsort(-probs)[:3].tolist())

    def test_a_prompt_that_is_too_long_fails_alone(self, engine: Engine, context: int) -> None:
        chats = openings(engine, (2,))
        for left in (1, 0):  # room for one token, and for none
            chat: Chat = engine.open_chat(f"long{left}")
            text = "<image>\n"
            chat.observe(text, [picture(chat, 0, seed=0)])
            size = len(chat.token_ids)
            chat = engine.open_chat(f"long{left}")
            chat.observe(text + "x" * (context - left - size), [picture(chat, 0, seed=0)])
            assert len(chat.token_ids) == context - left
            chats.append(chat)
        expected = tokens(engine, chats[:2], Sampling(max_tokens=4))
        *siblings, last, none = engine.generate(chats, Sampling(max_tokens=4))
        assert [getattr(reply, "token_ids", reply) for reply in siblings] == expected
        assert isinstance(last, Completion) and len(last.token_ids) == 1
        assert last.stop_reason in (StopReason.LENGTH, StopReason.EOS)
        assert isinstance(none, Failure) and not none.again
        assert f"{context:,} tokens does not fit the model's context" in none.reason

    def test_new_weights_are_used(
        self, engine: Engine, reference: VLM, model_folder: str, tmp_path: Path
    ) -> None:
        sampling = Sampling(max_tokens=8, seed=6)
        before = two_turns(engine, sampling)
        for n, seed in enumerate((1, 2)):
            changed = changed_weights(model_folder, seed)
            source: Any = changed
            if n == 1:
                changed.save(tmp_path)
                source = tmp_path
            engine.load_weights(source, 7 + n)
            assert engine.policy_version == 7 + n
            # The same images again: nothing that the old vision tower said may be left.
            after = two_turns(engine, sampling)
            assert distance(changed, after) < TOLERANCE
            assert distance(reference, after) > 0.05
            assert [c.policy_version for c in after] == [7 + n] * len(after)
            assert [c.token_ids for c in after] != [c.token_ids for c in before]

    def test_a_new_chat_knows_the_version(self, engine: Engine, model_folder: str) -> None:
        chat: Chat = engine.open_chat("a group")
        assert (chat.group, chat.member, chat.replies) == ("a group", 0, 0)
        assert chat.policy_version == engine.policy_version and not chat.token_ids
        engine.load_weights(VLM.load(model_folder), engine.policy_version + 5)
        assert engine.open_chat("later").policy_version == chat.policy_version + 5
        assert chat.policy_version == engine.policy_version - 5

    def test_it_sleeps_and_wakes(self, engine: Engine, reference: VLM) -> None:
        sampling = Sampling(max_tokens=6, seed=8)
        before = two_turns(engine, sampling)
        engine.sleep()
        engine.wake()
        after = two_turns(engine, sampling)
        assert [c.token_ids for c in after] == [c.token_ids for c in before]
        assert distance(reference, after) < TOLERANCE

    def test_a_reply_that_takes_too_long_fails(self, engine: Engine) -> None:
        sampling = Sampling(max_tokens=8, seed=9)
        chats = openings(engine)
        for reply in engine.generate(chats, replace(sampling, timeout=1e-6)):
            assert isinstance(reply, Failure) and reply.reason.startswith("timed out after 1e-06 s")
        expected = tokens(engine, chats, sampling)  # nothing of the failed ones is left
        assert tokens(engine, chats, replace(sampling, timeout=600.0)) == expected

    def test_nothing_to_do_is_done(self, engine: Engine) -> None:
        assert list(engine.generate([], Sampling())) == []
