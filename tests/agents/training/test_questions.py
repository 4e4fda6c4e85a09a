"""Which questions a step asks."""

import pytest

from agents.training.questions import Questions


def test_no_question_twice_in_an_epoch():
    questions = Questions(size=10, per_step=3, seed=1)
    assert questions.steps_per_epoch == 3
    asked = [q for step in range(3) for q in questions.at(step)]
    assert len(set(asked)) == 9
    assert set(asked) <= set(range(10))


def test_epochs_wrap_round_in_another_order():
    questions = Questions(size=50, per_step=10, seed=1)
    first = [q for step in range(5) for q in questions.at(step)]
    second = [q for step in range(5, 10) for q in questions.at(step)]
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_seed_and_step_alone_decide():
    asked = [Questions(1000, 4, seed=3).at(step) for step in (0, 7, 300)]
    again = Questions(1000, 4, seed=3)
    assert [again.at(step) for step in (300, 0, 7)] == [asked[2], asked[0], asked[1]]
    assert Questions(1000, 4, seed=4).at(0) != asked[0]


def test_a_small_dataset_gives_smaller_steps():
    questions = Questions(size=3, per_step=16, seed=0)
    assert questions.per_step == 3
    assert sorted(questions.at(0)) == sorted(questions.at(5)) == [0, 1, 2]


def test_an_empty_dataset_is_named():
    with pytest.raises(ValueError, match="dataset 'jsonl', split 'train': got 0 questions"):
        Questions(0, 16, seed=0, name="dataset 'jsonl', split 'train'")
