"""Logs: extras are kept, secrets are not, in both forms."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream import logs

SECRET = 'sk-"quoted"-0123456789'


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: logs.Format, *, secrets: tuple[str, ...] = ()) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logs.start(form, secrets, stream)
    return logging.getLogger("stream.test"), stream


def test_a_console_line_ends_in_its_extra_fields():
    log, stream = written("console")
    log.warning("paused %s", "now", extra={"stage": "responses"})
    assert stream.getvalue().rstrip().endswith("WARNING stream.test: paused now stage=responses")


def test_a_json_line_is_one_object_with_its_extra_fields_and_traceback():
    log, stream = written("json")
    try:
        raise KeyError("gone")
    except KeyError:
        log.exception("a\nb", extra={"stage": "responses", "path": "caf\udce9", "kind": Path("\udce9")})
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert (found["level"], found["message"], found["stage"]) == ("ERROR", "a\nb", "responses")
    assert (found["path"], found["kind"]) == ("caf\\udce9", "\\udce9")
    assert "KeyError: 'gone'" in found["traceback"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_secret_is_masked_wherever_it_appears(form: logs.Format):
    log, stream = written(form, secrets=(SECRET, "abc"))
    try:
        raise ValueError(f"401 for key {SECRET}")
    except ValueError:
        log.exception("header %s abc", SECRET, extra={"authorization": f"Bearer {SECRET}"}, exc_info=sys.exc_info())
    text = stream.getvalue()
    assert SECRET not in text and json.dumps(SECRET)[1:-1] not in text
    assert text.count(logs.MASK) >= 3
    assert "abc" in text, "a value too short to be a secret is left alone"


def test_starting_again_replaces_where_lines_go():
    _, first = written("console")
    log, second = written("console")
    log.info("once")
    assert not first.getvalue() and second.getvalue().count("once") == 1


@pytest.mark.parametrize(
    ("message", "ending"),
    [
        ("responses waits: http://x is away", "responses waits: http://x is away"),
        ("responses: http://x is away", "responses: http://x is away"),
        ("http://x is away", "http://x is away stage=responses"),
        ("responses-copy is full", "responses-copy is full stage=responses"),
    ],
)
def test_a_console_line_names_the_stage_it_belongs_to_once(message: str, ending: str):
    log, stream = written("console")
    with logs.of_stage("responses"):
        log.warning(message)
    assert stream.getvalue() == f"{stream.getvalue()[:8]} WARNING stream.test: {ending}\n"


def test_a_json_line_has_its_stage_as_a_field_also_when_the_message_names_it():
    log, stream = written("json")
    with logs.of_stage("responses"):
        log.warning("responses waits")
    log.warning("the run ends")
    first, last = map(json.loads, stream.getvalue().splitlines())
    assert first["stage"] == "responses" and "stage" not in last


def test_stages_may_be_nested_and_a_stage_that_a_line_names_itself_wins():
    log, stream = written("json")
    with logs.of_stage("outer"):
        with logs.of_stage("inner"):
            log.info("x")
            log.info("x", extra={"stage": "given"})
        log.info("x")
    assert [json.loads(line)["stage"] for line in stream.getvalue().splitlines()] == ["inner", "given", "outer"]
