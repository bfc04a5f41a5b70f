"""Failures that leave no module: what unittest and doctest count, and what ends a thread. Noted as they happen.

Runs in the sandboxed interpreter: what it imports is imported for those programs only that do so themselves.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would cost 5 ms
    from collections.abc import Callable
    from typing import Any


def note(failed: set[int], source: bytes) -> None:
    """Fill `failed` when unittest or doctest counts a failure, or an assertion ends a thread, in a program that uses
    them."""
    if b"unittest" in source:
        from unittest import TestResult

        # `addSubTest` is told of good ones too: its last argument is None.
        _note_calls(failed, TestResult, "addError", "addFailure", "addSubTest", "addUnexpectedSuccess")
    if b"doctest" in source:
        from doctest import DocTestRunner

        _note_calls(failed, DocTestRunner, "report_failure", "report_unexpected_exception")
    if b"thread" in source:
        _note_threads(failed)


def _note_calls(failed: set[int], kind: type, *names: str) -> None:
    def noting(method: "Callable[..., None]") -> "Callable[..., None]":
        def noted(*told: "Any") -> None:
            if told[-1] is not None:
                failed.add(1)
            method(*told)

        return noted

    for name in names:
        setattr(kind, name, noting(getattr(kind, name)))


def _note_threads(failed: set[int]) -> None:
    import threading

    shown = threading.excepthook

    def noted(ended: "Any") -> None:
        if ended.exc_type is not None and issubclass(ended.exc_type, AssertionError):
            failed.add(1)
        shown(ended)

    threading.excepthook = noted
