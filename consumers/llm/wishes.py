"""When a server wishes to be asked again: `Retry-After`, in the forms in which servers send it. Pure."""

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime

LONGEST_WISH_S = 60.0
"""A `Retry-After` counts at most this much: an early question is cheap, and who waits an hour for a server that is back
after a minute loses 59."""

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?")
"""As Go writes it, and the gateways that are written in Go."""


def wished_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that the headers of an answer ask for, up to `LONGEST_WISH_S`. `retry-after-ms`, of OpenAI and
    Azure, is the finer one.

    >>> wished_s({"retry-after-ms": "250", "retry-after": "1"}, datetime.now(UTC)), wished_s({}, datetime.now(UTC))
    (0.25, None)
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d{0,9})?", milliseconds):
        return min(float(milliseconds) / 1000, LONGEST_WISH_S)
    value = headers.get("retry-after")
    return None if value is None else retry_after_s(value.strip(), now)


def retry_after_s(value: str, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3: a number of them, or a date), up to
    `LONGEST_WISH_S`. Durations with units are understood as well.

    >>> retry_after_s("12", datetime.now(UTC)), retry_after_s("3600", datetime.now(UTC))
    (12.0, 60.0)
    >>> retry_after_s("2.5s", datetime.now(UTC)), retry_after_s("0m7s", datetime.now(UTC))
    (2.5, 7.0)
    >>> retry_after_s("Wed, 21 Oct 2026 07:28:30 GMT", datetime(2026, 10, 21, 7, 28, tzinfo=UTC))
    30.0
    >>> retry_after_s("soon", datetime.now(UTC))
    """
    if re.fullmatch(r"\d{1,9}(\.\d*)?", value):
        return min(float(value), LONGEST_WISH_S)
    if value and (units := _DURATION.fullmatch(value)):
        hours, minutes, seconds, milliseconds = (float(number or 0) for number in units.groups())
        return min(3600 * hours + 60 * minutes + seconds + milliseconds / 1000, LONGEST_WISH_S)
    try:
        date = email.utils.parsedate_to_datetime(value)
        wish_s = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
        return min(max(0.0, wish_s), LONGEST_WISH_S)
    except (ValueError, OverflowError):  # no date, or one of no year that Python knows
        return None
