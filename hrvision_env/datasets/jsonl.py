"""Your own photographs: a folder of images and a JSONL file of questions.

One JSON object per line:

    {"images": ["street.jpg"], "question": "What does the sign say?",
     "options": {"A": "stop", "B": "slow"}, "answer": "A", "boxes": [[812, 440, 905, 520]]}

images     list of files, relative to the folder that holds the JSONL file
question   text, without the options
options    letter -> text, or null for a free answer
answer     a letter of the options (or exactly one option's text); without options a text, a
           number, or a list of accepted ones
boxes      null, or where the answer is to be seen, for reports only: [x1, y1, x2, y2] in pixels
           of the first image as it is displayed (after EXIF rotation)
id         optional, unique; by default `FILE-ROW`
category   optional, a text or a list of texts

Questions in Chinese characters are asked in Chinese.

Other keys are kept in `Sample.meta`. Everything but the pixels is checked at load.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

from ..records import Box, ImageRef, Sample
from . import Samples, language_of

KEYS = ("images", "question", "options", "answer", "boxes", "id", "category")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def load(split: str = "test", *, root: str | Path) -> Samples:
    """Load questions from `root`: the JSONL file itself, or the folder that holds it.

    In a folder, `{split}.jsonl` is taken if it exists, else the only .jsonl file. Raises
    FileNotFoundError for a missing file, ValueError naming file, row and field for a bad row or
    a file without rows.
    """
    file = _find(Path(root).expanduser(), split)
    samples = [_Row(file, number, split).sample(text) for number, text in _lines(file)]
    if not samples:
        raise ValueError(f"{file}: holds no question, expected one JSON object per line")
    return Samples(samples, str(file))


def _find(root: Path, split: str) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise FileNotFoundError(f"root {root}: does not exist, expected a folder or a .jsonl file")
    if (named := root / f"{split}.jsonl").is_file():
        return named
    files = sorted(root.glob("*.jsonl"))
    if len(files) == 1:
        return files[0]
    found = ", ".join(f.name for f in files) or "no .jsonl file"
    raise FileNotFoundError(
        f"root {root}: found {found}; expected {split}.jsonl or a single .jsonl file"
    )


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                yield number, line
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8: {error}") from error


class _Row:
    """One line on its way to a `Sample`; knows where it is, for errors."""

    def __init__(self, file: Path, number: int, split: str) -> None:
        self.file, self.number, self.split = file, number, split

    def fail(self, field: str, got: object, expected: str) -> NoReturn:
        shown = repr(got) if len(repr(got)) <= 200 else repr(got)[:200] + "..."
        raise ValueError(
            f"{self.file}, row {self.number}: field {field!r}: got {shown}, expected {expected}"
        )

    def sample(self, line: str) -> Sample:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.file}, row {self.number}: malformed JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{self.file}, row {self.number}: got {row!r}, expected an object")
        options = self._options(row.get("options"))
        answers, kind = self._answers(row.get("answer"), options)
        return Sample(
            id=self._text("id", row.get("id", f"{self.file.stem}-{self.number}")),
            question=self._text("question", row.get("question")),
            images=self._images(row.get("images")),
            answers=answers,
            answer_kind=kind,
            options=options,
            boxes=self._boxes(row.get("boxes")),
            category=self._category(row.get("category")),
            source="jsonl",
            split=self.split,
            language=language_of(str(row.get("question"))),
            meta={key: value for key, value in row.items() if key not in KEYS},
        )

    def _text(self, field: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self.fail(field, value, "a text that is not empty")
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(field, value, "valid Unicode")
        return value

    def _images(self, value: Any) -> tuple[ImageRef, ...]:
        if not isinstance(value, list) or not value:
            self.fail("images", value, "a list of at least one file")
        return tuple(ImageRef(path=self._path(self._text("images", name))) for name in value)

    def _path(self, name: str) -> Path:
        parts = posixpath.normpath(name.replace("\\", "/"))
        absolute = PurePosixPath(parts).is_absolute() or PureWindowsPath(name).drive
        if absolute or parts.split("/")[0] == "..":
            self.fail("images", name, f"a path inside {self.file.parent}")
        path = self.file.parent / parts
        if not path.is_file():
            self.fail("images", name, f"an existing file ({path} is none)")
        return path

    def _options(self, value: Any) -> Mapping[str, str] | None:
        if value is None:
            return None
        if not isinstance(value, dict) or len(value) < 2:
            self.fail("options", value, "null, or an object of two or more letters and texts")
        for letter in value:
            if len(letter) != 1 or letter not in LETTERS:
                self.fail("options", letter, "single capital letters A-Z as keys")
        return {letter: self._text(f"options.{letter}", text) for letter, text in value.items()}

    def _answers(
        self, value: Any, options: Mapping[str, str] | None
    ) -> tuple[tuple[str, ...], str]:
        if options is not None:
            return (self._letter(value, options),), "choice"
        values = value if isinstance(value, list) and value else [value]
        numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in values]
        texts = [
            # Written out: 0.00001 is not 1e-05 for who compares texts.
            f"{Decimal(repr(v)):f}" if number and abs(v) < math.inf else self._text("answer", v)
            for v, number in zip(values, numbers, strict=True)
        ]
        return tuple(texts), "number" if all(numbers) else "short"

    def _letter(self, value: Any, options: Mapping[str, str]) -> str:
        """The gold letter; "(B)" and "B." are read as B, and an option's text as its letter."""
        text = self._text("answer", value).strip()
        if (bare := text.strip("(). ")) in options:
            return bare
        same = [k for k, v in options.items() if v.strip().casefold() == text.casefold()]
        if len(same) != 1:
            self.fail("answer", value, f"one of the options {', '.join(options)}")
        return same[0]

    def _boxes(self, value: Any) -> tuple[Box, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.fail("boxes", value, "null or a list of [x1, y1, x2, y2]")
        return tuple(self._box(box) for box in value)

    def _box(self, value: Any) -> Box:
        expected = "[x1, y1, x2, y2] in pixels with 0 <= x1 < x2 and 0 <= y1 < y2"
        if not isinstance(value, list) or len(value) != 4:
            self.fail("boxes", value, expected)
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
            self.fail("boxes", value, expected)
        x1, y1, x2, y2 = value
        if not (0 <= x1 < x2 < math.inf and 0 <= y1 < y2 < math.inf):
            self.fail("boxes", value, expected)
        return Box(x1, y1, x2, y2)

    def _category(self, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        values = value if isinstance(value, list) else [value]
        return tuple(self._text("category", v) for v in values)
