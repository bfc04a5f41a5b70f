"""Progress of one consumer group on one partition: a watermark, and what is finished above it. Pure.

A watermark alone is not exactly once when records finish out of order: outputs above it would be committed, and made
again after a crash. So a commit carries the watermark *and* the bitmap of finished offsets above it.
"""

import base64
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

MAX_SPAN = 20_000
"""Offsets that progress may span above the watermark. Its bitmap is then 3,336 base64 characters, under the 4,096
bytes of offset metadata that a Kafka broker takes by default."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is finished: every offset below `watermark`, and those in `done`, all of which are above it.

    >>> p = Progress(3, frozenset({5, 6}))
    >>> [offset for offset in range(8) if offset in p]
    [0, 1, 2, 5, 6]
    >>> p == Progress.decode(p.watermark, p.bitmap())
    True
    """

    watermark: int = 0
    done: frozenset[int] = frozenset()

    def __contains__(self, offset: int) -> bool:
        return offset < self.watermark or offset in self.done

    @property
    def reach(self) -> int:
        """The highest offset that may be delivered while this is what was committed: beyond it, `bitmap` could not
        tell that it is finished."""
        return self.watermark + MAX_SPAN

    def bitmap(self) -> str:
        """Return `done` as base64; bit k of the bytes, lowest first, is offset watermark + 1 + k.

        >>> Progress(10).bitmap()
        ''
        """
        bits = 0
        for offset in self.done:
            bits |= 1 << (offset - self.watermark - 1)
        return base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "little")).decode()

    @staticmethod
    def decode(watermark: int, bitmap: str) -> "Progress":
        """Inverse of `bitmap`.

        Raises:  ValueError when it is not base64 of at most MAX_SPAN bits.
        """
        try:
            raw = base64.b64decode(bitmap, validate=True)
        except ValueError as err:
            raise ValueError(f"not a bitmap of finished offsets: {bitmap[:40]!r}") from err
        if len(raw) * 8 > MAX_SPAN + 8:
            raise ValueError(f"a bitmap of {len(raw)} bytes spans more than {MAX_SPAN} offsets")
        return Progress(
            watermark,
            frozenset(
                watermark + 1 + 8 * i + k for i, byte in enumerate(raw) if byte for k in range(8) if byte >> k & 1
            ),
        )


class Window:
    """What one owner of a partition has been delivered, and what of it is finished.

    Offsets are delivered in rising order; those skipped in between hold no record for us (a control record, a
    compaction gap, one finished before) and count as finished.

    >>> w = Window(Progress(0))
    >>> w.deliver([0, 1, 4])
    >>> w.finish([4]); w.progress()
    Progress(watermark=0, done=frozenset({4}))
    >>> w.finish([0]); w.progress()
    Progress(watermark=1, done=frozenset({4}))
    >>> w.finish([1]); w.progress()
    Progress(watermark=5, done=frozenset())
    >>> w = Window(Progress(3, frozenset({5, 6})))
    >>> w.deliver([3, 4]); w.finish([3, 4]); w.watermark
    7
    >>> w = Window(Progress(0)); w.deliver([0, 1])
    >>> w.progress(also=[0]), w.progress()
    (Progress(watermark=1, done=frozenset()), Progress(watermark=0, done=frozenset()))
    """

    def __init__(self, start: Progress) -> None:
        self._position = start.watermark  # the next offset that could be delivered
        self._open: deque[int] = deque()  # delivered, from the first unfinished one on
        self._done: set[int] = set(start.done)
        self._ahead = deque(sorted(start.done))  # finished under an earlier owner, not passed yet
        self._pass_done()

    def deliver(self, offsets: Iterable[int]) -> None:
        """Take note of delivered offsets, none of them finished yet."""
        for offset in offsets:
            if offset < self._position or offset in self._done:
                raise ValueError(f"offset {offset} was delivered before")
            self._open.append(offset)
            self._position = offset + 1
        self._pass_done()

    def advance(self, position: int) -> None:
        """Take note that no record below `position` is left to deliver."""
        self._position = max(self._position, position)
        self._pass_done()

    def finish(self, offsets: Iterable[int]) -> None:
        """Take note of finished offsets; each was delivered."""
        self._done.update(offsets)
        while self._open and self._open[0] in self._done:
            self._open.popleft()

    def _pass_done(self) -> None:
        # Records finished under an earlier owner are not delivered again: the position moves over them by itself.
        while self._ahead and self._ahead[0] <= self._position:
            self._position = max(self._position, self._ahead.popleft() + 1)

    @property
    def watermark(self) -> int:
        """The lowest unfinished offset delivered, else the position."""
        return self._open[0] if self._open else self._position

    @property
    def span(self) -> int:
        """Offsets from the watermark to the position: 0 when nothing that was delivered is unfinished."""
        return self._position - self.watermark

    def progress(self, also: Collection[int] = ()) -> Progress:
        """Return the progress as of now, to be committed; as it would be with the offsets `also` finished too."""
        watermark = self.watermark
        self._done = {offset for offset in self._done if offset > watermark}
        if not also:
            return Progress(watermark, frozenset(self._done))
        done = self._done.union(also)
        watermark = next((offset for offset in self._open if offset not in done), self._position)
        return Progress(watermark, frozenset(offset for offset in done if offset > watermark))
