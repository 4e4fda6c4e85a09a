"""`python -m hrvision_env list`: what can be named, and all about one of them."""

from __future__ import annotations

import pytest

from hrvision_env.actions.forms import FORMS
from hrvision_env.commands.listing import first_sentence
from hrvision_env.crops import CROPS
from hrvision_env.grading import grader_names
from hrvision_env.images import DIALECTS
from hrvision_env.plugins import available
from hrvision_env.spaces import UnicodeText

from .test_cli import run


def test_list_names_everything_with_a_line(capsys):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    described = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    names = {"HighResVQA-v0", *DIALECTS, *FORMS, *CROPS}
    names |= {*available("hrvision_env.dialogues"), *available("hrvision_env.datasets")}
    names |= {*grader_names(), "official:vstar"}
    assert names <= set(described)
    assert all(len(described[name].split()) > 3 for name in names - set(FORMS))
    assert "Answer a question about a high-resolution image" in described["HighResVQA-v0"]


@pytest.mark.parametrize("name", ["mgpo", "vstar", "strict", "official:vstar"])
def test_list_tells_all_about_one(capsys, name):
    code, out, err = run(capsys, "list", name)
    assert (code, err) == (0, "") and out.startswith(f"{name}\n\n") and len(out) > 300
    assert ("root: " in out) == (name == "vstar")


def test_list_proposes_the_closest_name(capsys):
    code, out, err = run(capsys, "list", "vstr")
    assert code == 2 and out == "" and "did you mean 'vstar'" in err


def test_a_plugin_that_is_broken_does_not_hide_the_others(capsys, monkeypatch, tmp_path):
    import hrvision_env.grading

    (tmp_path / "faulty.py").write_text("1 / 0\n")
    monkeypatch.setattr(
        hrvision_env.grading, "__path__", [*hrvision_env.grading.__path__, str(tmp_path)]
    )
    code, out, _ = run(capsys, "list")
    assert code == 0 and "strict " in out
    assert "cannot be imported: ZeroDivisionError: division by zero" in out


def test_first_sentences():
    class Thing:
        """Boxes etc. in replies, e.g.
        like this. And more.

        And more.
        """

    assert first_sentence(Thing) == "Boxes etc."
    assert first_sentence(UnicodeText).startswith("All Unicode texts of at most `max_length`")
    assert first_sentence(object()) != "" and first_sentence(run).endswith("errors.")
