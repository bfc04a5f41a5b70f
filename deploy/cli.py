"""The program `seedstream`: its commands, and how it ends.

    0 done   2 wrong use or config   3 a dependency is unreachable   130 interrupted
    1 the thing checked does not hold, or a run until idle has left dead inputs

An error is one line on stderr. What the commands need is imported when they run, so that `--help` answers at once.
"""

import signal
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Annotated, Any

import typer

from deploy.commands import evaluate, export, kafka, look, mend, prune, recipes, serve, tools, topics, train
from deploy.commands import run as running
from deploy.options import say
from deploy.output import Output, ReaderGone
from stream.errors import Fatal, PipelineError, Unavailable

EXIT_FALSE, EXIT_UNREACHABLE = 1, 3

app = typer.Typer(
    name="seedstream",
    help="Turn source code into verified instruction-tuning data, as a stream.",
    epilog="Example: seedstream up --source ~/code --dir run --llm http://127.0.0.1:8000 --model qwen --until-idle",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: rich alone would take half of its time
)
for group in (running.app, mend.app, prune.app, look.app, export.app, train.app, evaluate.app, serve.app, tools.app):
    app.registered_commands += group.registered_commands
app.add_typer(recipes.app, name="recipe")
app.add_typer(kafka.app, name="kafka")
app.add_typer(topics.app, name="topics")


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a defect.")] = False,
) -> None:
    if debug:
        sys.excepthook = sys.__excepthook__


def main() -> None:
    """The console script."""
    sys.excepthook = one_line
    sys.stdout = Output.over(sys.stdout)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, also before a run listens to both
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code; what is wrong is said in one line on stderr."""
    command = typer.main.get_command(app)
    try:
        code: Any = command.main(list(arguments), prog_name="seedstream", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as err:
        say(f"seedstream: {one_line_of(err.format_message())}")
        return err.exit_code
    except ReaderGone as err:
        return err.exit_code
    except PipelineError as err:
        say(f"seedstream: {one_line_of(str(err))}")
        return exit_code(err)
    return code if isinstance(code, int) else 0


def exit_code(error: PipelineError) -> int:
    """Return how a process ends that this error ended."""
    if isinstance(error, Fatal):
        return error.exit_code
    return EXIT_UNREACHABLE if isinstance(error, Unavailable) else EXIT_FALSE


def one_line_of(message: str) -> str:
    """Return a message as one line.

    >>> one_line_of("a\\n  b")
    'a b'
    """
    return " ".join(message.split())


def one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What is said of a defect: an error that no code of ours foresaw."""
    last = trace
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f" in {last.tb_frame.f_code.co_qualname}" if last else ""
    say(f"seedstream: a defect: {kind.__name__}{where}: {one_line_of(str(error))} (seedstream --debug … shows it all)")
