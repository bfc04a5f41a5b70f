"""Record batches: what is packed comes back, with its offsets, from any start."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from stream.bus import Cause, Message, Stored
from stream.embedded.batches import MAX_BATCH_BYTES, pack, pack_gapped, split, unpack

number = st.integers(0, 2**40)
causes = st.builds(Cause, st.text(), st.text(), st.integers(0, 99), number, number, number)
messages = st.builds(Message, st.just("t"), st.text(), st.binary(), st.none() | causes)


@given(st.lists(messages, max_size=6), number, st.integers(0, 7), st.integers(0, 99))
def test_a_batch_gives_back_its_records_from_any_offset_on(
    batch: list[Message], base: int, start: int, partition: int
) -> None:
    stored = [Stored(partition, base + k, m.key, m.value, m.cause, 1.5) for k, m in enumerate(batch)]
    assert unpack(pack(batch), partition, base, 1.5) == stored
    assert unpack(pack(batch), partition, base, 1.5, base + start) == stored[start:]


@given(st.lists(st.tuples(messages, st.integers(1, 1_000)), max_size=6), number, st.integers(0, 3_000))
def test_a_batch_can_have_gaps(batch: list[tuple[Message, int]], base: int, start: int) -> None:
    deltas = list(accumulate(step for _, step in batch))
    body = pack_gapped(deltas, [message for message, _ in batch])
    stored = [Stored(0, base + d, m.key, m.value, m.cause, 1.5) for d, (m, _) in zip(deltas, batch, strict=True)]
    assert unpack(body, 0, base, 1.5) == stored
    assert unpack(body, 0, base, 1.5, base + start) == [record for record in stored if record.offset >= base + start]


@given(st.lists(st.integers(0, 3), max_size=40))
def test_a_split_keeps_every_message_in_order_and_holds_no_batch_open_past_its_size(thirds: list[int]) -> None:
    batch = [Message("t", str(k), bytes(size * MAX_BATCH_BYTES // 3)) for k, size in enumerate(thirds)]
    parts = list(split(batch))
    assert [message for part in parts for message in part] == batch
    for part in parts:
        assert part
        assert sum(len(message.value) for message in part[:-1]) < MAX_BATCH_BYTES


def test_many_small_records_share_a_batch() -> None:
    assert [len(part) for part in split([Message("t", "k", b"x" * 100)] * 10_000)] == [10_000]
