"""docs/settings.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settings import load
from settings.document import page
from settings.environment import Settings, variables_of
from settings.queue import Queue, QueueSettings
from settings.table import FIELDS

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


@pytest.mark.parametrize("field", [name for name in Settings.model_fields if variables_of(name)])
def test_every_variable_is_explained(field):
    section = page().partition(f"### `{variables_of(field)[0]}`\n")[2].partition("\n##")[0]
    text, value, default = (section.partition("- Value: ")[0].strip(), "- Value: ", "- Default: ")
    assert len(text) > 40, "a sentence on what it is for and why its default is what it is"
    assert value in section
    assert default in section
    assert "- Value: text\n" not in section, "say what kind of text"


@pytest.mark.parametrize("field", ["name", *FIELDS])
def test_every_field_of_a_queue_is_explained(field):
    assert f"### Field `{field}`\n" in page()
    assert QueueSettings.model_fields[field].description


def test_a_row_and_a_queue_in_force_have_the_same_fields():
    assert {"name", *FIELDS} == set(QueueSettings.model_fields)


def test_the_examples_of_the_page_hold():
    """The table and the overrides that the page shows are loaded as they stand."""
    table = re.search(r"```python\n(QUEUES.*?)```", page(), re.DOTALL)
    namespace = {"Queue": Queue}
    exec(table[1], namespace)
    assert [queue.name for queue in load({}, table=namespace["QUEUES"]).queues] == ["orders", "mails"]

    shell = re.search(r"```sh\n(.*?)```", page(), re.DOTALL)
    environ = dict(line.split("=", 1) for line in shell[1].splitlines())
    assert len(environ) == len(FIELDS)
    (queue,) = load(environ, table=(Queue(name="user-mails"),)).queues
    assert (queue.visibility, queue.dead_letter) == (120, "user-mails-failed")
