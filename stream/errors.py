"""The errors of seedstream. The tree is the retry policy: the runner looks only at the class.

    PipelineError
      Unavailable  pause the stage's intake, probe for ever, count nothing   EndpointDown, DiskFull, BrokerDown
      Transient    retry this record with jitter, to a limit; then dead      RequestTimedOut, WorkerDied
      Permanent    dead letter: a defect of ours                             BadRecord, TooLarge
      Fatal        commit what is finished, stop, exit non-zero              NewerSchema, WrongConfig, Flooded

What a model or a source did wrong is none of these: it is a `Reject` with a reason (`stream.stage`).
"""


class PipelineError(Exception):
    """Base of every error that the runner acts on. The message is one line that a user can act on."""


class Unavailable(PipelineError):  # noqa: N818 - the names say what to do, not that they are errors
    """Something we depend on is away. It will come back; no record is to blame.

    `retry_after_s` is the server's own wish, where it named one.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Transient(PipelineError):  # noqa: N818
    """This attempt at this record failed; another may succeed."""


class Permanent(PipelineError):  # noqa: N818
    """No code of ours can process this record: a defect of ours, kept in `dead` until it is mended and replayed."""


class Fatal(PipelineError):  # noqa: N818
    """Going on would do harm. `exit_code` is the process's: 2 for wrong use or config, 3 for a dependency, else 1."""

    exit_code = 1


class EndpointDown(Unavailable):
    """An LLM server refuses connections, or answers 429 or 503."""


class BrokerDown(Unavailable):
    """The message broker does not answer, or not well enough to be relied on."""


class DiskFull(Unavailable):
    """The bus file cannot grow. Nothing was written; the same step is tried again."""


class RequestTimedOut(Transient):
    """One request took longer than its limit, or its connection broke in the middle."""


class WorkerDied(Transient):
    """A worker process ended while it held this record."""


class BadRecord(Permanent):
    """A record on the bus that cannot be decoded as its topic's type."""


class TooLarge(Permanent):
    """A message larger than its topic takes: names its size, the topic and the limit."""


class NewerSchema(Fatal):
    """A record or bus file written by a newer seedstream. Never dead-lettered: an old worker must not empty a topic
    during an upgrade."""

    exit_code = 2

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(f"{what} has schema {found}, this seedstream knows {known}: run the newer version")
        self.found = found
        self.known = known


class WrongConfig(Fatal):
    """Wrong use, a wrong config or recipe: names the file, table, key or flag, and what was expected."""

    exit_code = 2


class InUse(WrongConfig):
    """Another process owns what was asked for: names its pid."""


class BusMissing(WrongConfig):
    """There is no bus where one was expected."""


class LeaseLost(Fatal):
    """A partition, or the right to append, is no longer ours: another owner has taken it over. A stage goes on with the
    partitions that it has; anybody else stops."""


class ProgressLost(Fatal):
    """The committed progress of a stage has vanished. Starting over would do everything again."""


class Flooded(Fatal):
    """So many records of a stage became dead letters that no record is to blame: names the stage, the most frequent
    error and what to do."""


class DependencyDown(Fatal):
    """A dependency could not be reached within the budget at start."""

    exit_code = 3
