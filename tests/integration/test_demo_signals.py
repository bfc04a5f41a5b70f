"""`make demo` is one job to a user: who stops it stops the command that it runs, and hears how that ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = """
import asyncio, sys
from deploy import demo
demo.SEEDSTREAM = sys.executable
sys.exit(asyncio.run(demo.seedstream("-c", sys.argv[1])))
"""
COMMAND = """
import signal, sys
def ended(number, frame):
    print("told", number, flush=True)
    sys.exit(130)
signal.signal(signal.SIGINT, ended)
signal.signal(signal.SIGTERM, ended)
print("begun", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM to it alone", "Ctrl-C"])
def test_whoever_stops_the_demo_stops_its_command_and_gets_its_exit_code(sent: signal.Signals):
    with subprocess.Popen(
        [sys.executable, "-c", DEMO, COMMAND], stdout=subprocess.PIPE, text=True, process_group=0, cwd=Path.cwd()
    ) as demo:
        assert demo.stdout
        while demo.stdout.readline() != "begun\n":
            assert demo.poll() is None
        if sent is signal.SIGINT:
            os.killpg(demo.pid, sent)  # as a terminal does
        else:
            demo.send_signal(sent)
        assert demo.stdout.read() == f"told {sent.value}\n"
    assert demo.returncode == 130
