"""The forms in which agents write boxes: what a prompt shows, and where a reply may end.

| form | who writes it |
|---|---|
| `json` | Qwen2.5-VL and Qwen3-VL when asked for JSON |
| `qwen` | Qwen2-VL, with the special tokens of its vocabulary |
| `tag` | Qwen-VL and InternVL, plain tags |
| `tool` | DeepEyes and agents on verl or Qwen-Agent, function calls in Hermes format |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOOL = "image_zoom_in_tool"
"""The tool whose calls ask for a crop; the name is that of DeepEyes, verl and Qwen-Agent."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a box."""

    name: str
    example: str
    """As a prompt shows it, with x1, y1, x2, y2 in the place of the numbers."""
    stop: tuple[str, ...]
    """Strings that end a reply whose last part is a box."""
    indexed: bool = False
    """Has a place for `image_index`; without one a box is always on the image that is meant."""


FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Form(
            "json",
            '```json\n[{"bbox_2d": [x1, y1, x2, y2], "label": "what is there"}]\n```',
            ("]\n```",),
            indexed=True,
        ),
        Form(
            "qwen",
            "<|object_ref_start|>what is there<|object_ref_end|>"
            "<|box_start|>(x1,y1),(x2,y2)<|box_end|>",
            ("<|box_end|>",),
        ),
        Form("tag", "<ref>what is there</ref><box>[x1, y1, x2, y2]</box>", ("</box>",)),
        Form(
            "tool",
            f'<tool_call>\n{{"name": "{TOOL}", "arguments": {{"bbox_2d": [x1, y1, x2, y2], '
            '"label": "what is there"}}\n</tool_call>',
            ("</tool_call>",),
            indexed=True,
        ),
    )
}
