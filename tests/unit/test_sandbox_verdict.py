"""The pure parts of the sandbox: limits, verdicts, the wire, the canary, the system-call filter, refusals."""

import errno
import math
import platform
import struct
from dataclasses import fields
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Limits, SandboxBroken, Verdict, canary, seccomp, selftest, verdict
from sandbox.rootfs import hidden_folders, library_folders
from sandbox.wire import Ending, Job, Killed, Kind, pack, unpack

NONCE = bytes(range(16))


@pytest.mark.parametrize("field", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, True, "1", None, 1 << 80])
def test_a_limit_out_of_range_is_refused_by_its_name(field: str, bad: object) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .*: expected "):
        Limits(**{field: bad})  # type: ignore[arg-type]


def test_the_wall_limit_follows_the_cpu_limit_unless_given() -> None:
    assert Limits(cpu_s=0.5).wall_s == 2.5
    assert Limits(cpu_s=0.5, wall_s=9).wall_s == 9


def ending(
    record: bytes = b"", *, killed: int = Killed.NO, status: int = 0, begun: bool = True, stderr: bytes = b""
) -> Ending:
    return Ending(killed, status, 0.1, 0.2, (Kind.BEGUN if begun else b"") + record, b"", stderr)


PASSED, FAILED = ending(NONCE + Kind.PASS), ending(NONCE + Kind.ASSERTION + b"AssertionError")


def judged(run: Ending, of_canary: Ending | None = None) -> Verdict:
    return verdict.judge(run, of_canary, NONCE)[0]


def test_a_pass_takes_the_nonce_and_a_canary_that_failed() -> None:
    assert judged(PASSED, FAILED) is Verdict.PASS


@pytest.mark.parametrize(
    "of_canary",
    [
        PASSED,
        ending(NONCE + Kind.EXCEPTION),
        ending(NONCE + Kind.EXIT),
        ending(b""),
        ending(killed=Killed.CPU),
        ending(status=-11),
    ],
)
def test_a_pass_whose_canary_ends_in_any_other_way_is_no_test(of_canary: Ending) -> None:
    assert judged(PASSED, of_canary) is Verdict.NO_TESTS


def test_a_pass_without_a_canary_is_our_fault() -> None:
    with pytest.raises(SandboxBroken, match="canary"):
        judged(PASSED)


@given(st.binary(max_size=40), st.integers(0, 255))
def test_no_record_without_the_nonce_is_a_pass_whatever_the_exit_code(record: bytes, code: int) -> None:
    if not record.startswith(NONCE):
        assert judged(ending(record, status=code), FAILED) is Verdict.EARLY_EXIT


@given(st.binary(min_size=1))
def test_a_pass_with_anything_behind_it_is_none(more: bytes) -> None:
    assert judged(ending(NONCE + Kind.PASS + more), FAILED) is Verdict.EARLY_EXIT


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (ending(NONCE + Kind.PASS, killed=Killed.CPU), Verdict.TIMEOUT),
        (ending(killed=Killed.WALL, status=-9), Verdict.TIMEOUT),
        (ending(killed=Killed.STDOUT, status=-9), Verdict.OUTPUT_LIMIT),
        (ending(NONCE + Kind.ASSERTION, killed=Killed.STDERR), Verdict.OUTPUT_LIMIT),
        (ending(NONCE + Kind.PASS, status=-11), Verdict.CRASH),
        (ending(status=-40), Verdict.CRASH),
        (ending(NONCE + Kind.MEMORY), Verdict.OOM),
        (ending(NONCE + Kind.SYNTAX), Verdict.SYNTAX_ERROR),
        (ending(NONCE + b"?"), Verdict.EARLY_EXIT),
        (ending(NONCE), Verdict.EARLY_EXIT),
    ],
)
def test_what_ended_a_program_counts_before_what_it_said(run: Ending, expected: Verdict) -> None:
    assert judged(run, FAILED) is expected


def test_a_program_that_was_never_confined_is_our_fault_and_shows_why() -> None:
    with pytest.raises(SandboxBroken, match="OSError: no space"):
        judged(ending(begun=False, status=1, stderr=b"Traceback\nOSError: no space\n"))
    with pytest.raises(SandboxBroken, match="out of memory"):
        judged(ending(status=-9))


@given(st.text(max_size=5000), st.integers(0x10000, 2**64 - 1))
def test_a_detail_is_short_and_free_of_addresses(text: str, address: int) -> None:
    raw = f"{text} at 0x{address:012x}".encode("utf-8", "replace")
    _, detail = verdict.judge(ending(NONCE + Kind.EXCEPTION + raw), None, NONCE)
    assert len(detail) <= 2000
    assert f"{address:x}" not in detail[-20:]
    assert "\0" not in detail


reports = st.lists(
    st.builds(
        Ending,
        st.integers(0, 5),
        st.integers(-64, 255),
        st.floats(0, 1e6),
        st.floats(0, 1e6),
        st.binary(),
        st.binary(),
        st.binary(),
    ),
    max_size=3,
)


def contents(endings: list[Ending]) -> list[list[object]]:
    return [[getattr(e, name) for name in Ending.__slots__] for e in endings]


@given(reports)
def test_a_report_comes_back_as_it_was_written(endings: list[Ending]) -> None:
    assert contents(unpack(pack(endings))) == contents(endings)


@given(reports, st.data())
def test_a_torn_report_is_refused_or_holds_whole_endings_alone(endings: list[Ending], data: st.DataObject) -> None:
    whole = pack(endings)
    torn = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        read = contents(unpack(torn))
    except ValueError:
        return
    assert read == contents(endings)[: len(read)]


def test_a_job_comes_back_as_it_was_written() -> None:
    job = Job(
        source=b"\xff\0",
        nonce=NONCE,
        host_pid=1,
        uid=2,
        folders=["/usr/lib"],
        hidden=[],
        seccomp=b"12345678",
        rlimits=[(9, 1 << 40)],
        tmp_options="size=1",
        cpu_s=0.5,
        wall_s=2.5,
        kept_output_bytes=1,
        max_output_bytes=2,
    )
    assert vars(Job.unpack(job.pack())) == vars(job)


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("assert x", True),
        ("def f():\n    for i in x:\n        assert i", True),
        ("class A:\n    async def f(self):\n        async with a:\n            assert x", True),
        ("try: pass\nexcept E:\n    pass\nelse:\n    assert x", True),
        ("try: pass\nexcept E:\n    assert x\nfinally: pass", True),
        ("match x:\n    case 1:\n        assert x", True),
        ("if a: pass\nelif b: pass\nelse:\n    while c: assert x", True),
        ("self.assertEqual(1, 2)", True),
        ("np.testing.assert_allclose(a, b)", True),
        ("async def f():\n    await mock.assert_awaited()", True),
        ("with self.assertRaises(E): f()", True),
        ("f(lambda: assertion)", False),
        ("x = assert_true", False),
        ("check(1)", False),
        ("", False),
    ],
)
def test_an_assertion_is_found_wherever_a_statement_can_stand(program: str, found: bool) -> None:
    assert canary.has_assertion(canary.parse(program.encode(), "p")) is found


def run_canary(program: str) -> str | None:
    tree = canary.parse(program.encode(), "p")
    canary.plant(tree, NONCE)
    try:
        exec(compile(tree, "p", "exec", dont_inherit=True), {mark: set[int]() for mark in canary.marks(NONCE)})
    except AssertionError:
        return "assertion"
    return None


@pytest.mark.parametrize(
    "program",
    ["assert True", "def f():\n    assert True\nf()", "if 1:\n    assert True", "for i in 'ab':\n    assert i"],
)
def test_a_canary_fails_once_an_assertion_was_reached(program: str) -> None:
    assert run_canary(program) == "assertion"


@pytest.mark.parametrize(
    "program", ["def f():\n    assert True", "if 0:\n    assert True", "for i in '':\n    assert i"]
)
def test_a_canary_does_not_fail_when_no_assertion_was_reached(program: str) -> None:
    assert run_canary(program) is None


@cache
def seccomp_ops(machine: str) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", seccomp.build(machine)))


def seccomp_answer(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """Run the filter on one call, as the kernel does: the value it returns."""
    ops = seccomp_ops(machine)
    arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine] if arch is None else arch
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = ops[at]
        at += 1
        if code == 0x20:
            [loaded] = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += if_true if holds else if_false


ALLOW, KILL = 0x7FFF0000, 0x80000000
DENY, ABSENT, NO_TTY = (0x00050000 | error for error in (errno.EPERM, errno.ENOSYS, errno.ENOTTY))
THREAD = 0x3D0F00  # what libc clones a thread with
NEW_USER = 0x10000000
X86 = {"read": 0, "socket": 41, "socketpair": 53, "clone": 56, "fork": 57, "execve": 59, "kill": 62, "fcntl": 72}
X86 |= {"ioctl": 16, "prctl": 157, "tkill": 200, "tgkill": 234, "prlimit64": 302, "clone3": 435}
ARM = {"read": 63, "socket": 198, "socketpair": 199, "clone": 220, "execve": 221, "kill": 129, "fcntl": 25}
ARM |= {"ioctl": 29, "prctl": 167, "tkill": 130, "tgkill": 131, "prlimit64": 261, "clone3": 435}


@pytest.mark.parametrize(("machine", "numbers"), [("x86_64", X86), ("aarch64", ARM)])
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("read", (), ALLOW),
        ("socket", (1,), DENY),
        ("execve", (), DENY),
        ("fork", (), DENY),
        ("clone", (THREAD,), ALLOW),
        ("clone", (17,), DENY),
        ("clone", (THREAD | NEW_USER,), DENY),
        ("clone3", (), ABSENT),
        ("socketpair", (1,), ALLOW),
        ("socketpair", (2,), DENY),
        ("kill", (1, 15), ALLOW),
        ("kill", (1, 9), DENY),
        ("kill", (1, 9 | 1 << 32), DENY),
        ("tkill", (1, 9), DENY),
        ("tgkill", (9, 9, 15), ALLOW),
        ("tgkill", (1, 1, 9), DENY),
        ("fcntl", (1, 3), ALLOW),
        ("fcntl", (1, 10), DENY),
        ("ioctl", (1, 0x5401), ALLOW),
        ("ioctl", (1, 0x5412), NO_TTY),
        ("prctl", (15,), ALLOW),
        ("prctl", (22,), DENY),
        ("prlimit64", (0, 0, 0), ALLOW),
        ("prlimit64", (0, 7, 1), ALLOW),
        ("prlimit64", (0, 0, 1), DENY),
        ("prlimit64", (0, 0, 1 << 32), DENY),
        ("prlimit64", (1, 7, 0), DENY),
    ],
)
def test_the_filter_answers_each_call_by_number_and_arguments(
    machine: str, numbers: dict[str, int], name: str, arguments: tuple[int, ...], answer: int
) -> None:
    if name in numbers:
        assert seccomp_answer(machine, numbers[name], *arguments) == answer


@pytest.mark.parametrize("machine", seccomp.SYSCALLS)
@given(number=st.integers(450, 2**32 - 1))
def test_no_call_that_is_newer_than_the_table_is_allowed(machine: str, number: int) -> None:
    assert seccomp_answer(machine, number) in (DENY, KILL)


def test_calls_of_another_kind_of_machine_end_the_program() -> None:
    assert seccomp_answer("x86_64", 0, arch=0x40000003) == KILL
    assert seccomp_answer("x86_64", 0x40000000) == KILL
    assert seccomp_answer("aarch64", 63, arch=0x40000028) == KILL


def test_a_machine_without_a_table_is_named() -> None:
    with pytest.raises(ValueError, match="riscv64: expected x86_64 or aarch64"):
        seccomp.build("riscv64")


def test_the_folders_a_program_sees_are_apart_and_hold_the_standard_library() -> None:
    folders = library_folders()
    assert any(__import__("json").__file__.startswith(f"{folder}/") for folder in folders)
    assert not [f for f in folders for other in folders if f != other and f.startswith(f"{other}/")]
    assert not any(__file__.startswith(f"{folder}/") for folder in folders)
    assert all(any(h.startswith(f"{folder}/") for folder in folders) for h in hidden_folders(folders))


@pytest.mark.parametrize(
    ("setting", "value", "error", "advice"),
    [
        ("max_user_namespaces", "0", "unshare(user): No space left on device", "user.max_user_namespaces"),
        ("unprivileged_userns_clone", "0", "unshare(user): Operation not permitted", "unprivileged_userns_clone=1"),
        ("apparmor_restrict", "1", "write: Permission denied", "apparmor_restrict_unprivileged_userns=0"),
        (
            "",
            "",
            "mount_setattr(/): Function not implemented",
            f"Linux 5.12 or newer is needed, this is {platform.release()}",
        ),
        ("", "", "unshare(user): Operation not permitted", "CAP_SYS_ADMIN"),
        ("", "", "something else", "something else"),
    ],
)
def test_a_refusal_names_the_setting_to_change(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, error: str, advice: str
) -> None:
    def a_setting(path: str) -> str | None:
        return value if setting and setting in path else None

    monkeypatch.setattr(selftest, "_setting", a_setting)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    assert advice in selftest.why_refused(error)
