"""What one run of one program may use."""

import math
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one run. The process cannot fork, so a bound on the process is a bound on the run.

    CPU time decides a time-out, so a busy machine does not change a verdict; wall time only ends what sleeps. A run
    may take `wall_s` and 32 seconds for each second of CPU time that it has used (`sandbox.wire.allowed_wall_s`).
    HumanEval solutions need 1.7 ms of CPU at the median and 23 ms at p99: 2 s is generous, and each second more is
    paid in full by every endless loop.

    >>> Limits(cpu_s=2).wall_s
    7.0
    >>> Limits(threads=0)
    Traceback (most recent call last):
    ...
    ValueError: threads is 0: expected a whole number from 1 to 4096

    Raises:  ValueError that names the field and what was expected.
    """

    cpu_s: float = 2.0
    wall_s: float = 0.0  # of a run that uses no CPU time; 0 means 3 x cpu_s + 1, and is replaced by it
    address_space_bytes: int = 1024 * MIB
    stack_bytes: int = 8 * MIB
    tmp_bytes: int = 16 * MIB  # of the tmpfs on /tmp, which is noexec
    tmp_inodes: int = 1024
    max_file_bytes: int = 16 * MIB
    descriptors: int = 64
    threads: int = 64  # the main thread included
    kept_output_bytes: int = 64 * 1024  # the first ones, of stdout and of stderr each
    max_output_bytes: int = 2 * MIB  # of either stream; past it the program is killed

    def __post_init__(self) -> None:
        _require_seconds("cpu_s", self.cpu_s, 3600)
        if self.wall_s == 0:
            object.__setattr__(self, "wall_s", 3.0 * self.cpu_s + 1.0)
        _require_seconds("wall_s", self.wall_s, 24 * 3600)
        for field, least, most in _WHOLE:
            value: object = getattr(self, field)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{field} is {value!r}: expected a whole number from {least} to {most}")


# fmt: off
_WHOLE = (
    # field                 least       most
    ("address_space_bytes", 64 * MIB,   1 << 46),  # a bare interpreter maps about 30 MiB
    ("stack_bytes",         256 * 1024, 1 << 32),
    ("tmp_bytes",           4096,       1 << 40),
    ("tmp_inodes",          8,          1 << 30),  # the root folder and the program's own file are two
    ("max_file_bytes",      4096,       1 << 40),
    ("descriptors",         8,          65536),
    ("threads",             1,          4096),
    ("kept_output_bytes",   0,          64 * MIB),
    ("max_output_bytes",    1,          1 << 40),
)
# fmt: on


def _require_seconds(field: str, value: object, most: int) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 < value <= most
    ):
        raise ValueError(f"{field} is {value!r}: expected seconds above 0 and at most {most}")
