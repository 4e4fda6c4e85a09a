"""What rollouts did and cost, with numbers counted by hand."""

from typing import Any

import pytest

from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, Failure, Sampling, StopReason
from agents.rollout.engines.scripted import ScriptedEngine
from agents.rollout.loop import rollout
from agents.rollout.stats import METRICS, EpisodeCost, RolloutStats, kind_of

from .conftest import script
from .faulty import Wrapped, make_env
from .questions import BOX_TEXT

DECIMALS = '[{"bbox_2d": [250.0, 500.0, 500.0, 750.0]}]'
"""The same box, in numbers that the strict parser refuses."""
BOX_TOKENS, ANSWER_TOKENS = 34, 10
"""Byte by byte, with "}]" as one token; \\boxed{A} and the end of the turn."""


@pytest.fixture(scope="module")
def codec(qwen3_folder: str) -> Codec:
    return Codec.from_pretrained(qwen3_folder)


def played(engine: Any, questions: list[int], **options: Any) -> RolloutStats:
    stats = RolloutStats()
    rollout(make_env(**options), engine, Sampling(), questions=questions, stats=stats)
    return stats


def test_a_rollout_in_numbers(codec: Codec) -> None:
    stats = played(ScriptedEngine(codec, script), [2, 0, 1])
    assert (stats.groups, stats.episodes, stats.replies) == (3, 6, 12)
    first, second = stats.turns
    assert (first.replies, first.tokens, first.asked, first.boxes) == (6, 6 * BOX_TOKENS, 6, 6)
    assert first.valid == {"strict": 6, "lenient": 6} and first.crops == 6
    assert (second.replies, second.tokens, second.asked) == (6, 6 * ANSWER_TOKENS, 0)
    assert second.valid == {} and second.boxes == second.crops == 0
    assert stats.outcomes == {"correct": 4, "wrong": 2}  # q0 both, q1 and q2 member 0
    # A view for each group, a crop for each member.
    assert stats.images_encoded == 3 + 6
    metrics = stats.metrics()
    assert metrics["tokens"] == 6 * (BOX_TOKENS + ANSWER_TOKENS) == stats.sampled_tokens
    assert metrics["tokens_per_reply"] == 22
    assert (metrics["tokens_first_reply"], metrics["tokens_later_reply"]) == (34, 10)
    assert metrics["stop_stop"] == metrics["stop_eos"] == 0.5 and metrics["stop_length"] == 0
    assert metrics["outcome_correct"] == pytest.approx(4 / 6) and metrics["outcome_error"] == 0
    assert metrics["valid_box_rate_strict"] == metrics["crop_rate"] == 1
    assert metrics["tool_rate"] == 1 and metrics["asked_for_box"] == 0.5
    assert metrics["turns_per_episode"] == 2 and metrics["tokens_longest_reply"] == 34
    assert metrics["cut_first_reply"] == metrics["cut_later_reply"] == 0
    assert metrics["tokens_per_second"] == pytest.approx(264 / stats.seconds_engine)
    assert min(stats.seconds_engine, stats.seconds_env, stats.seconds_tokenise) > 0


@pytest.mark.parametrize(
    ("parser", "boxes", "reasons"), [("strict", 0, {"not_integers": 4}), ("lenient", 4, {})]
)
def test_both_box_rates_whatever_the_environment_obeys(
    codec: Codec, parser: str, boxes: int, reasons: dict[str, int]
) -> None:
    stats = played(ScriptedEngine(codec, lambda _: DECIMALS), [0, 1], box_parser=parser)
    metrics = stats.metrics()
    assert metrics["valid_box_rate_strict"] == 0 and metrics["valid_box_rate_lenient"] == 1
    assert stats.turns[0].boxes == stats.turns[0].crops == boxes
    assert stats.invalid_reasons == reasons and stats.episodes_with_box == boxes
    assert metrics["crop_rate"] == (boxes > 0)


def test_a_reply_that_only_answers_was_not_asked_for_a_box(codec: Codec) -> None:
    def look_then_answer(chat: Any) -> str:
        return r"\boxed{A}" if chat.replies or chat.member else BOX_TEXT

    stats = played(ScriptedEngine(codec, look_then_answer), [0, 1], dialogue="free")
    assert [turn.replies for turn in stats.turns] == [4, 2]
    assert [turn.asked for turn in stats.turns] == [2, 0]
    assert stats.metrics()["tool_rate"] == 0.5 and stats.episodes_with_crop == 2
    assert stats.metrics()["valid_box_rate_strict"] == 1


def test_cut_and_longest_replies_by_turn() -> None:
    stats, other = RolloutStats(), RolloutStats()
    for number, length, reason in (
        (0, 3, StopReason.EOS),
        (0, 8, StopReason.LENGTH),
        (1, 5, StopReason.LENGTH),
        (2, 4, StopReason.LENGTH),
        (2, 2, StopReason.STOP),
    ):
        stats.count_reply(number, Completion([7] * length, [0.0] * length, reason), 0.0)
    metrics = stats.metrics()
    assert metrics["cut_first_reply"] == 0.5 and metrics["cut_later_reply"] == pytest.approx(2 / 3)
    assert metrics["tokens_longest_reply"] == 8 and [t.longest for t in stats.turns] == [8, 5, 4]
    other.count_reply(1, Completion([7] * 9, [0.0] * 9, StopReason.EOS), 0.0)
    other.add(stats)  # the longest of both, not their sum
    assert [t.longest for t in other.turns] == [8, 9, 4]
    assert RolloutStats.from_dict(other.to_dict()) == other


def test_attempts_that_failed_are_paid_for(codec: Codec) -> None:
    def fault(chat: Any, time: int) -> Any:
        if (chat.group, chat.member, chat.replies) != ("q0", 1, 1):
            return None
        if time == 1:
            return Failure("timed out after 3 s, 5 tokens sampled")
        return Completion([codec.image], [0.0], StopReason.LENGTH)

    stats = RolloutStats()
    engine = Wrapped(ScriptedEngine(codec, script), fault)
    (group,) = rollout(make_env(), engine, Sampling(), questions=[0], retries=1, stats=stats)
    assert [(c.tokens, c.turns, c.retries) for c in group.costs] == [(44, 2, 0), (34, 1, 1)]
    assert stats.retry_reasons == {"timed out after N s, N tokens sampled": 1}
    assert stats.error_reasons == {"ValueError": 1} and stats.retries == 1 == stats.errors
    assert stats.metrics()["outcome_error"] == 0.5 and stats.sampled_tokens == 44 + 34


def test_batches_that_were_healed_are_counted(codec: Codec) -> None:
    # Fault of an earlier version: a run many times slower, and nothing said why.
    class Small(ScriptedEngine):
        def generate(self, chats: Any, sampling: Sampling) -> Any:
            if len(chats) > 2:
                raise MemoryError(f"no room for {len(chats)}")
            return super().generate(chats, sampling)

    stats, well = (
        played(Small(codec, script), [0, 1]),
        played(ScriptedEngine(codec, script), [0, 1]),
    )
    # Two turns of four chats; once each it is too many, then two and two.
    assert stats.batch_reasons == {"MemoryError": 2} and well.batches_failed == 0
    assert (stats.errors, stats.retries, stats.outcomes) == (0, 0, well.outcomes)
    stats.add(stats)
    assert stats.metrics()["batches_failed"] == 4


def test_seconds_are_the_same_however_they_are_added_up(codec: Codec) -> None:
    stats = RolloutStats()
    engine = ScriptedEngine(codec, script)
    groups = rollout(make_env(), engine, Sampling(), questions=[2, 0, 1], stats=stats)
    costs = sum((cost for group in groups for cost in group.costs), EpisodeCost())
    waited = sum(turn.seconds_engine for turn in stats.turns)
    assert waited == pytest.approx(costs.seconds_engine) and waited > 0
    assert costs.seconds_env == pytest.approx(stats.seconds_env)
    # A step is a part of the environment's time, the resets are the rest.
    assert 0 < sum(turn.seconds_env for turn in stats.turns) < stats.seconds_env


def test_two_rollouts_add_up(codec: Codec) -> None:
    engine = ScriptedEngine(codec, script)
    both = RolloutStats()
    for questions in ([2, 0], [1]):
        rollout(make_env(), engine, Sampling(), questions=questions, stats=both)
    one, two = played(engine, [2, 0]), played(engine, [1])
    other = played(ScriptedEngine(codec, lambda _: r"\boxed{B}"), [1], dialogue="single_turn")
    one.add(two)
    for name in set(METRICS) - {n for n in METRICS if "second" in n}:
        assert one.metrics()[name] == both.metrics()[name], name
    one.add(other)
    assert one.episodes == 8 and one.turns[0].replies == 8 and one.turns[1].replies == 6
    assert one.turns[0].valid["strict"] == 6 and one.invalid_reasons == {"no_json": 2}
    assert two.episodes == 2  # what is added stays as it was


def test_every_metric_is_explained_and_a_number_without_any_episode() -> None:
    metrics = RolloutStats().metrics()
    assert list(metrics) == list(METRICS)
    assert set(metrics.values()) == {0.0}
    assert all(isinstance(value, float) for value in metrics.values())


def test_costs_add_up() -> None:
    total = EpisodeCost(3, 1, 0.5, 0.25) + EpisodeCost(tokens=4, retries=2)
    assert total == EpisodeCost(7, 1, 0.5, 0.25, 2)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("ImageError: a.png: 3 bytes", "ImageError"),
        ("openai.APIError: 500", "openai.APIError"),
        ("timed out after 2.5 s, 17 tokens sampled", "timed out after N s, N tokens sampled"),
        ("prompt of 5,000 tokens", "prompt of N tokens"),
        ("the server said: no", "the server said: no"),
        ("", ""),
    ],
)
def test_reasons_are_counted_by_kind(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind
