"""Say where and how a program failed. Runs in the sandboxed interpreter, where `traceback` would cost 9 ms."""

# Not pathlib, which costs every program 10 ms of CPU:
# ruff: noqa: PTH119, PTH120

import os

_STDLIB = os.path.dirname(os.__file__) + "/"
_OURS = os.path.dirname(__file__) + "/"
_FRAMES = 6
_MESSAGE_CHARS = 1200


def describe(error: BaseException, program: str) -> bytes:
    """Return the last frames and the message as a traceback shows them, in UTF-8.

    Files are named relative to the standard library or by name alone, so the text is the same on every machine.
    """
    lines: list[str] = []
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        if not code.co_filename.startswith(_OURS):
            lines.append(f'  File "{_short(code.co_filename, program)}", line {at.tb_lineno}, in {code.co_name}')
        at = at.tb_next
    message = str(error)
    if len(message) > _MESSAGE_CHARS:
        message = message[:_MESSAGE_CHARS] + "…"
    name = type(error).__qualname__
    lines = [*lines[-_FRAMES:], f"{name}: {message}" if message else name]
    return "\n".join(lines).encode("utf-8", "backslashreplace")


def _short(file: str, program: str) -> str:
    if file == program:
        return os.path.basename(program)
    return file.removeprefix(_STDLIB)
