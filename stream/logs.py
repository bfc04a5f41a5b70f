"""Logs on stderr: for people, or one JSON object a line for machines. Standard library logging underneath.

A record's `extra` fields follow the message (console) or stand beside it (JSON). Secrets handed to `start` never
leave: wherever one appears in a line, `***` stands instead.

A line that is logged while a stage runs has the field `stage`. No call names it: `of_stage` puts it into the context,
which asyncio hands on to tasks, callbacks and `to_thread`. It does not reach a thread or an executor of one's own, so
these must not log on behalf of a stage.
"""

import logging
import re
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import orjson

Format = Literal["console", "json"]

MASK = "***"
MIN_SECRET_CHARS = 6
"""Shorter values are not masked: they would blot out ordinary words, and no real key is that short."""

_stage: ContextVar[str | None] = ContextVar("stage", default=None)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def start(form: Format, secrets: Iterable[str] = (), stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send every log record of at least `level` to `stream` (stderr), in place of where they went before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Masked(Json() if form == "json" else Console(), secrets))
    handler.addFilter(name_stage)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line for each request is noise beside the progress, and their lines carry URLs as they were given.
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def of_stage(name: str) -> Generator[None]:
    """Give every line that is logged inside, and by the tasks and threads started inside, the field `stage`."""
    token = _stage.set(name)
    try:
        yield
    finally:
        _stage.reset(token)


def name_stage(record: logging.LogRecord) -> bool:
    """Filter of a handler: add the field `stage` where the line belongs to one, and keep the line."""
    stage = _stage.get()
    if stage is not None and not hasattr(record, "stage"):
        record.stage = stage
    return True


class Console(logging.Formatter):
    """`12:00:01 WARNING stream.runner: paused stage=responses`. A message that begins with its stage is not told it
    again."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        extra = _extra(record)
        if "stage" in extra and begins_with(record.message, str(extra["stage"])):
            del extra["stage"]
        return super().formatMessage(record) + "".join(f" {k}={v}" for k, v in extra.items())


class Json(logging.Formatter):
    """`{"at_s": 1.5, "level": "WARNING", "logger": "stream.runner", "message": "paused", "stage": "responses"}`"""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at_s": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        line |= {k: v for k, v in _extra(record).items() if k not in line}
        texts = {k: _text(v) if isinstance(v, str) else v for k, v in line.items()}
        return orjson.dumps(texts, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()


class Masked(logging.Formatter):
    """Another formatter's lines without secrets. The whole line is searched, so it matters not where one slipped in."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        long_enough = {s for s in secrets if len(s) >= MIN_SECRET_CHARS}
        escaped = {orjson.dumps(s).decode()[1:-1] for s in long_enough}  # as it reads inside a JSON string
        self._secrets = sorted(long_enough | escaped, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line = self._inner.format(record)
        for secret in self._secrets:
            line = line.replace(secret, MASK)
        return line


def begins_with(message: str, stage: str) -> bool:
    """Tell whether a message names its stage first.

    >>> begins_with("seeds waits: ...", "seeds"), begins_with("seeds: ...", "seeds"), begins_with("seedsman", "seeds")
    (True, True, False)
    """
    return re.match(rf"{re.escape(stage)}(?![\w-])", message) is not None


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {k: v for k, v in vars(record).items() if k not in _STANDARD}


def _text(value: object) -> str:
    # A log line is never worth an error: a lone surrogate (a file name that is not UTF-8) is written as an escape.
    return str(value).encode("utf-8", "backslashreplace").decode()
