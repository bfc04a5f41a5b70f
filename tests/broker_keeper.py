"""Ends the brokers of a folder when nobody uses them any more: `python -m tests.broker_keeper FOLDER`.

Each test process that uses them holds a shared lock, which the kernel releases when that process ends, however it ends.
The keeper waits for the exclusive one: it is granted when the last of them has let go or is gone. Data goes, logs stay.
"""

import fcntl
import os
import shutil
import sys
from pathlib import Path

from deploy.local_kafka import LocalKafka


def users(folder: Path) -> Path:
    """The file that those who use the brokers of a folder lock."""
    return folder.with_name(f"{folder.name}.users")


def main(folder: Path) -> None:
    fd = os.open(users(folder), os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    for cluster in folder.glob("*/cluster.json"):
        LocalKafka(cluster.parent).kill()
        for data in cluster.parent.glob("node-*/data"):
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
