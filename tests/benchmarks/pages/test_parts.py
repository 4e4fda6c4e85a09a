"""Pages: complete in one file, hostile text harmless, pictures of what the agent saw."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pages.drawings import GOLD, OWN, draw_boxes, draw_episode, draw_questions
from benchmarks.pages.figures import plain, png_of
from benchmarks.pages.palette import DARK, LIGHT
from benchmarks.pages.parts import Page, Section, Table, bars_picture, write_page
from benchmarks.pages.plots import Bar, Panel, bars_figure, moving_average, panel_figure
from benchmarks.pages.sheets import COLUMN, question_png
from benchmarks.pages.tables import failed_line, summary_table
from benchmarks.rows import make_row
from hrvision_env.records import Box
from hrvision_env.scripted import play
from hrvision_env.vector import HighResVQAVectorEnv

from ..conftest import ENV

HOSTILE = '</pre><script>alert(1)</script><img src="http://x/y.png" onerror=alert(2)>'


class Hostile:
    needs_target = False

    def act(self, observations):
        return [HOSTILE + seen.reply([Box(100, 100, 500, 500)], "A") for seen in observations]


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.urls: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.urls += [value for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_data(self, data):
        self.text += data


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.cells]


def image_of(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1])))


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    env = HighResVQAVectorEnv(num_envs=2, **ENV)
    rows = [make_row("evil", "d", *played) for played in play(Hostile(), env, range(2))]
    ids = [row["question_id"] for row in rows]
    questions = draw_questions(rows, {"evil": ENV}, ids, {"evil": "<b>evil</b>"})
    bars = [Bar("<i>evil</i>", 0.5, [0.25, 0.75], "evil")]
    section = Section(HOSTILE, questions=questions, pictures=[bars_picture(bars, 1 / 6)])
    page = Page(title=HOSTILE, lead=HOSTILE, sections=[section], footer=[HOSTILE])
    return write_page(page, tmp_path_factory.mktemp("page") / "report.html")


def test_hostile_text_stays_text(hostile_page):
    page = Tags(hostile_page.read_text())
    assert not {"script", "b>evil", "i"} & page.tags
    assert "onerror" not in page.attributes
    assert HOSTILE in page.text


def test_a_page_is_complete_in_one_file(hostile_page):
    page = Tags(hostile_page.read_text())
    assert len(page.urls) >= 6  # bars light and dark, view and crop of two episodes
    assert all(url.startswith("data:image/png;base64,") for url in page.urls)
    assert not {"link", "iframe", "object"} & page.tags


def test_an_episode_is_drawn_with_the_crop_that_its_agent_saw(scripted_rows):
    row = next(r for r in scripted_rows if r["agent"] == "oracle")
    view, sample = draw_episode("oracle", row, ENV)
    assert view.correct
    assert sample.id == row["question_id"]
    assert len(view.pictures) == 2
    crop_size = row["episode"]["turns"][0]["crop_sizes"][0]
    crop = image_of(view.pictures[1].light)
    assert crop.width / crop.height == pytest.approx(crop_size[0] / crop_size[1], abs=0.02)
    # The oracle's crop shows the object: in its middle the pad, whose pattern has no colour.
    width, height = crop.size
    middle = crop.crop((width * 0.42, height * 0.42, width * 0.58, height * 0.58))
    red, green, blue = np.asarray(middle.convert("RGB"), dtype=float).reshape(-1, 3).T
    assert np.abs(red - green).mean() < 3
    assert np.abs(red - blue).mean() < 3
    assert red.std() > 40
    assert [turn.text for turn in view.turns] == [t["text"] for t in row["episode"]["turns"]]


def test_boxes_are_drawn_where_they_lie_on_the_original():
    grey = Image.new("RGB", (96, 96), (100, 100, 100))
    own, gold = Box(256, 256, 768, 768), Box(0, 0, 64, 64)
    picture = draw_boxes(grey, (1024, 1024), [(gold, GOLD), (own, OWN)])
    assert picture.size == (384, 384)
    pixels = np.asarray(picture)  # [row, column, channel]
    for colour in (GOLD, OWN):
        assert (pixels == colour).all(axis=2).any()
    # The left edge of a box from 256 of 1024 pixels is at 96 of 384.
    assert (pixels[192, 94:99] == OWN).all(axis=1).any()
    assert (pixels[192, 192] == 100).all()


def test_a_question_is_one_png_with_the_pictures_of_every_agent(scripted_rows):
    rows = [r for r in scripted_rows if r["agent"] in ("random", "oracle")]
    environments = {"random": ENV, "oracle": ENV}
    (question,) = draw_questions(rows, environments, [rows[0]["question_id"]], {})
    sheet = Image.open(io.BytesIO(question_png(question)))
    assert sheet.width == 2 * COLUMN
    pixels = np.asarray(sheet)
    for half in (pixels[:, :COLUMN], pixels[:, COLUMN:]):
        assert (half == OWN).all(axis=2).sum() > 20  # the frame, which is drawn in no other place
        assert (half[-100:] < 128).any(), "the last reply"
    assert (pixels[:, :COLUMN] == GOLD).all(axis=2).any()  # the oracle's own box covers it


def test_a_summary_table_shows_what_is_there_and_marks_what_is_not():
    one = {"accuracy": 0.5, "n": 10, "interval": [0.2, 0.8], "iou": 0.123, "box_side": 229.4}
    two = {"accuracy": 1.0, "n": 10, "interval": [0.7, 1.0], "iou": 0.5}
    table = summary_table({"a": one, "b": two})
    assert table.header == ["agent", "accuracy", "95% interval", "questions", "IoU", "box side, ‰"]
    assert texts(table)[0] == ["a", "50.0%", "20.0% – 80.0%", "10", "12.3%", "229"]
    assert [cell.value for cell in table.cells[0]] == [None, 0.5, 0.2, 10, 0.123, 229.4]
    assert table.cells[1][-1].text == "–"


def test_failed_episodes_are_counted_where_there_are_some():
    """2 of 10 greedy ones and 3 sampled ones are 5 by hand."""
    whole = {"accuracy": 0.5, "n": 10, "interval": [0.2, 0.8], "outcomes": {"wrong": 10}}
    broken = {**whole, "outcomes": {"wrong": 8, "error": 2}, "failed_sampled": 3}
    table = summary_table({"a": whole, "b": broken})
    assert table.header == ["agent", "accuracy", "95% interval", "questions", "failed"]
    assert [row[-1] for row in texts(table)] == ["0", "2 + 3 sampled"]
    assert failed_line({"a": whole, "b": broken})[0].startswith("Episodes failed: b 5.")
    assert failed_line({"a": whole}) == []


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_figures_have_a_transparent_ground_for_both_themes(theme):
    panel = Panel("Accuracy", {"grpo": ([0, 1], [0.1, 0.2]), "mgpo": ([0, 1], [0.3, 0.9])})
    bars = [Bar("mgpo", 0.9, [0.8, 0.95], "mgpo")]
    for draw in (panel_figure(panel), bars_figure(bars, chance=1 / 6)):
        png = png_of(draw, theme)
        alpha = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[:, :, 3]
        assert alpha[0, 0] == 0
        assert alpha.max() == 255


def test_moving_average_is_centred_and_shrinks_at_the_ends():
    assert moving_average([1.0, 2.0, 6.0, 3.0], 3) == [1.5, 3.0, pytest.approx(11 / 3), 4.5]
    assert moving_average([4.0], 9) == [4.0]


@pytest.mark.parametrize("name", ["$\\frac", "a$b$c", "_hidden", "\udcff\x00", "一" * 60, "%s{}"])
def test_a_figure_takes_any_name(name):
    """No formula, no hidden label, no letter that ends the drawing."""
    panel = Panel(name, {name: ([0, 1], [0.1, 0.2]), "other": ([0, 1], [0.1, 0.2])})
    for draw in (panel_figure(panel), bars_figure([Bar(name, 0.9, [0.8, 0.95], name)])):
        assert png_of(draw, LIGHT).startswith(b"\x89PNG")
    assert len(plain("x" * 99, 30)) <= 30
