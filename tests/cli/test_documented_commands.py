"""Every command that the README and the guide show is one that exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from helmsight.cli.configuration import configuration

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "policies" / "weights").glob("*/README.md")),
)
# What takes KEY=VALUE words alone.
COMMANDS = ("bench", "collect", "drift", "eval", "explain", "export", "serve", "sweep", "train")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `helmsight` command in a page's shell blocks."""
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().replace("$family", "standard"), comments=True)
            if len(words) > 2 and words[:2] == ["helmsight", "carla"]:
                yield [" ".join(words[1:3]), *words[3:]]
            elif len(words) > 1 and words[0] == "helmsight" and words[1] in COMMANDS:
                yield words[1:]


CASES = [(page.relative_to(ROOT), words) for page in PAGES for words in commands(page)]


def test_the_pages_show_commands():
    assert len(CASES) > 40


@pytest.mark.parametrize(("page", "words"), CASES, ids=lambda case: str(case)[:90])
def test_a_documented_command_has_no_word_that_does_not_exist(page, words):
    assert configuration(words[0], words[1:]) is not None
