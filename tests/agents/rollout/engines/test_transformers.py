"""Generation against the model's public forward and against transformers' own `generate`."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from agents.prefix import logprobs_of, trained_hidden
from agents.rollout.chat import Chat
from agents.rollout.engines import Completion, Sampling, StopReason
from agents.rollout.engines.transformers import TransformersEngine, inverse_cdf
from agents.vlm import VLM

from ...helpers import add_crop, masks_of, opening, public_logits, public_logprobs, rows_of


@pytest.fixture(scope="module")
def engine(model_folder: str) -> TransformersEngine:
    return TransformersEngine(VLM.load(model_folder))


def openings(engine: TransformersEngine, sizes: tuple[int, ...] = (3, 2, 1)) -> list[Chat]:
    """Groups of siblings with openings of different length."""
    roots = [opening(engine.codec, group) for group in range(len(sizes))]
    return [root.fork(n) for root, size in zip(roots, sizes, strict=True) for n in range(size)]


def say(engine: TransformersEngine, chats: list[Chat], sampling: Sampling) -> list[Completion]:
    completions = engine.generate(chats, sampling)
    for chat, completion in zip(chats, completions, strict=True):
        chat.reply(completion)
    return completions


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_those_of_training(engine: TransformersEngine, temperature: float) -> None:
    # Two turns with an image each: a position of the crop that differed between rollout and
    # training (a fault of the reference code) would show here.
    chats = openings(engine)
    sampling = Sampling(max_tokens=9, temperature=temperature, seed=4)
    said = say(engine, chats, sampling)
    for n, chat in enumerate(chats):
        add_crop(chat, n)
    said_again = say(engine, chats, sampling)
    sampled = np.concatenate([np.array(c.logprobs)[np.array(c.loss_mask)] for c in chats])
    assert len(sampled) == sum(len(c.token_ids) for c in said + said_again)
    vlm = engine.vlm
    with torch.no_grad():
        hidden, targets = trained_hidden(vlm, rows_of(chats), masks_of(chats))
        trained = logprobs_of(hidden, vlm.lm_head, targets, temperature, vlm.codec.banned)
        public = torch.cat([public_logprobs(vlm, chat, temperature) for chat in chats])
    assert np.abs(sampled - trained.numpy()).max() < 1e-4
    assert np.abs(sampled - public.numpy()).max() < 1e-4


def test_greedy_is_that_of_transformers(engine: TransformersEngine) -> None:
    # Fault of the reference code: "greedy" validation was sampled at T = 1.
    chats = openings(engine, (2, 1))
    expected = [own_greedy(engine.vlm, chat, 8) for chat in chats[1:]]
    for seed in (0, 1):
        greedy = engine.generate(chats, Sampling(max_tokens=8, temperature=0.0, seed=seed))
        assert [completion.token_ids for completion in greedy] == [expected[0], *expected]


def own_greedy(vlm: VLM, chat: Chat, max_tokens: int) -> list[int]:
    ids = torch.tensor([chat.token_ids])
    out = vlm.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == vlm.codec.image).int(),
        pixel_values=torch.from_numpy(np.concatenate([i.pixel_values for i in chat.images])),
        image_grid_thw=torch.tensor([i.grid for i in chat.images]),
        do_sample=False,
        max_new_tokens=max_tokens,
        suppress_tokens=list(vlm.codec.banned),
        eos_token_id=list(vlm.codec.eos),
        pad_token_id=vlm.codec.pad,
    )
    return out[0, ids.shape[1] :].tolist()


def test_greedy_logprobs_are_those_of_the_model(engine: TransformersEngine) -> None:
    chats = openings(engine)
    say(engine, chats, Sampling(max_tokens=5, temperature=0.0))
    for chat in chats:
        with torch.no_grad():
            expected = public_logprobs(engine.vlm, chat, temperature=1.0)
        got = np.array(chat.logprobs)[np.array(chat.loss_mask)]
        assert np.abs(got - expected.numpy()).max() < 1e-4


def test_draws_do_not_depend_on_the_batch(engine: TransformersEngine) -> None:
    chats = openings(engine, (3, 3, 2))
    sampling = Sampling(max_tokens=10, seed=7)
    together = [c.token_ids for c in engine.generate(chats, sampling)]
    alone = [engine.generate([chat], sampling)[0].token_ids for chat in chats]
    backwards = [c.token_ids for c in engine.generate(chats[::-1], sampling)][::-1]
    parts = TransformersEngine(engine.vlm, max_rows=3)
    in_parts = [c.token_ids for c in parts.generate(chats, sampling)]
    assert together == alone == backwards == in_parts


def test_draws_depend_on_seed_group_member_and_turn(engine: TransformersEngine) -> None:
    chat = opening(engine.codec, 0)
    others = [chat.fork(1), chat.fork(0), chat.fork(0)]
    others[1].group, others[2].replies = "another", 1
    base = engine.generate([chat], Sampling(max_tokens=10))[0].token_ids
    drawn = [c.token_ids for c in engine.generate(others, Sampling(max_tokens=10))]
    drawn.append(engine.generate([chat], Sampling(max_tokens=10, seed=1))[0].token_ids)
    assert base == engine.generate([chat], Sampling(max_tokens=10))[0].token_ids
    assert base not in drawn and len(set(map(tuple, drawn))) == 4


def test_frequencies_are_the_models_probabilities(engine: TransformersEngine) -> None:
    chat, n = opening(engine.codec, 0), 3000
    chats = [chat.fork(member) for member in range(n)]
    engine = TransformersEngine(engine.vlm, max_rows=n)
    first = [c.token_ids[0] for c in engine.generate(chats, Sampling(max_tokens=1))]
    with torch.no_grad():
        logits = public_logits(engine.vlm, chat)[-1]
    logits[list(engine.codec.banned)] = -torch.inf
    expected = logits.softmax(-1).numpy()
    observed = np.zeros_like(expected)
    for token, count in Counter(first).items():
        observed[token] = count / n
    # The expected total variation of 3,000 draws over 261 ids is about 0.5 sqrt(261 / 3000).
    assert 0.5 * np.abs(observed - expected).sum() < 0.17
    assert 0.5 * np.abs(observed - 1 / 261).sum() > 0.25  # and it is no uniform distribution


class Leaning(nn.Module):
    """The model's head, leaning towards some tokens."""

    def __init__(self, head: nn.Linear, ids: tuple[int, ...], by: float) -> None:
        super().__init__()
        self.head, self.weight = head, head.weight
        self.lean = torch.zeros(len(head.weight))
        self.lean[list(ids)] = by

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.head(hidden) + self.lean


@pytest.fixture
def leaning(model_folder: str) -> TransformersEngine:
    """An engine of its own, whose head a test may replace."""
    return TransformersEngine(VLM.load(model_folder))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_banned_tokens_are_never_sampled(
    model_folder: str, tmp_path: Path, temperature: float
) -> None:
    vlm = VLM.load(model_folder)
    vlm.model.resize_token_embeddings(272)  # three more rows than the tokenizer has tokens
    vlm.save(tmp_path)
    leaning = TransformersEngine(VLM.load(tmp_path))
    model, banned = leaning.vlm.model, leaning.codec.banned
    assert banned[-3:] == (269, 270, 271)
    model.lm_head = Leaning(model.lm_head, banned, 30.0)
    chats = openings(leaning)
    for completion in say(leaning, chats, Sampling(max_tokens=12, temperature=temperature)):
        assert not set(completion.token_ids) & set(banned)
        # The ban takes part in the normalisation: these are log-probs among the legal ids.
        assert -12 < np.mean(completion.logprobs) < 0


def test_the_end_of_turn_ends(leaning: TransformersEngine) -> None:
    model, chats = leaning.vlm.model, openings(leaning, (8, 8))
    model.lm_head = Leaning(model.lm_head, leaning.codec.eos, 4.0)
    done = leaning.generate(chats, Sampling(max_tokens=40))
    lengths = {len(completion.token_ids) for completion in done}
    assert len(lengths) > 3 and max(lengths) < 40
    for completion in done:
        assert completion.stop_reason is StopReason.EOS
        assert completion.token_ids[-1] == leaning.codec.im_end
        assert leaning.codec.im_end not in completion.token_ids[:-1]
        assert len(completion.logprobs) == len(completion.token_ids)


def test_finished_rows_leave_the_batch(leaning: TransformersEngine) -> None:
    model, chats = leaning.vlm.model, openings(leaning, (8, 8))
    sampling = Sampling(max_tokens=40)
    alone = []
    model.lm_head = Leaning(model.lm_head, leaning.codec.eos, 4.0)
    for chat in chats:
        alone += leaning.generate([chat], sampling)
    sizes = []
    leaning.vlm.body.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: sizes.append(len(kwargs["inputs_embeds"])), with_kwargs=True
    )
    together = leaning.generate(chats, sampling)
    assert [c.token_ids for c in together] == [c.token_ids for c in alone]
    np.testing.assert_allclose(
        np.concatenate([c.logprobs for c in together]),
        np.concatenate([c.logprobs for c in alone]),
        atol=1e-4,
    )
    steps = sizes[2:]  # after prefixes and branches
    assert steps == sorted(steps, reverse=True) and 16 >= steps[0] > 8 > steps[-1]
    assert len(steps) == max(len(c.token_ids) for c in together) - 1


def test_length_ends(engine: TransformersEngine) -> None:
    for completion in engine.generate(openings(engine), Sampling(max_tokens=3, seed=5)):
        assert len(completion.token_ids) == 3
        assert completion.stop_reason is StopReason.LENGTH


def test_a_stop_string_ends_at_its_last_token(engine: TransformersEngine) -> None:
    # Faults of the reference code: no stop in turn 1, and a cut that loses the sampled ids.
    chats = openings(engine)
    sampling = Sampling(max_tokens=20, seed=2)
    free = engine.generate(chats, sampling)
    for chat, completion in zip(chats, free, strict=True):
        # What this chat happens to say in its 4th to 6th token; every chat has its own string.
        chat.stop = (engine.codec.decode(completion.token_ids[3:6]), "never said")
    stopped = engine.generate(chats, sampling)
    reached = 0
    for chat, whole, cut in zip(chats, free, stopped, strict=True):
        end = engine.stopper.cut(whole.token_ids, chat.stop)
        if end is None:  # pieces of letters that only decode together with their neighbours
            assert cut.token_ids == whole.token_ids
            continue
        reached += 1
        assert cut.stop_reason is StopReason.STOP
        assert cut.token_ids == whole.token_ids[:end]
        np.testing.assert_allclose(cut.logprobs, whole.logprobs[:end], atol=1e-4)
    assert reached >= 2


def test_siblings_cost_one_prefix_and_one_image(leaning: TransformersEngine) -> None:
    patches, shapes = [], []
    leaning.vlm.body.visual.register_forward_pre_hook(lambda _, args: patches.append(len(args[0])))
    leaning.vlm.body.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: shapes.append(tuple(kwargs["inputs_embeds"].shape[:2])),
        with_kwargs=True,
    )
    chats = openings(leaning, (4, 4))
    say(leaning, chats, Sampling(max_tokens=2))
    longest = max(chat.prefix for chat in chats)
    assert patches == [24 + 24]  # two views of 48 x 32 px
    assert shapes == [(2, longest - 1), (8, 1), (8, 1)]
    for chat in chats:
        add_crop(chat, 0)  # the same crop for all
    say(leaning, chats, Sampling(max_tokens=1))
    assert patches[1:] == [24]
    assert shapes[3] == (2, longest - 1)


def test_inverse_cdf_by_hand() -> None:
    probs = torch.tensor([[0.5, 0.0, 0.25, 0.25, 0.0]]).expand(6, -1)
    numbers = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 1 - 2.0**-53], dtype=torch.float64)
    assert inverse_cdf(probs.log(), numbers).tolist() == [0, 0, 2, 2, 3, 3]


def test_weights_are_taken_over(qwen3_folder: str, tmp_path: Path) -> None:
    vlm = VLM.load(qwen3_folder)
    engine = TransformersEngine(vlm)
    chats = openings(engine)
    sampling = Sampling(max_tokens=8, temperature=0.0)
    before = [c.token_ids for c in engine.generate(chats, sampling)]
    changed = VLM.load(qwen3_folder)
    with torch.no_grad():
        for parameter in changed.model.parameters():
            parameter.mul_(1.3)
    changed.save(tmp_path)
    expected = [c.token_ids for c in TransformersEngine(changed).generate(chats, sampling)]
    engine.load_weights(tmp_path, version=3)
    after = [c.token_ids for c in engine.generate(chats, sampling)]
    assert before != after == expected  # with a changed vision tower: no old feature is used
    assert engine.policy_version == 3
    engine.load_weights(vlm.model, version=4)  # its own module
    assert engine.policy_version == 4
    assert [c.token_ids for c in engine.generate(chats, sampling)] == expected


def test_bad_sampling_is_refused(engine: TransformersEngine) -> None:
    assert engine.generate([], Sampling()) == []
    for sampling in (Sampling(max_tokens=0), Sampling(temperature=-1.0)):
        with pytest.raises(ValueError, match="max_tokens >= 1 and temperature >= 0"):
            engine.generate(openings(engine), sampling)
