"""A copy of a recipe for its user to edit: the TOML with its comments, and the prompts beside it."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from consumers import prompt
from deploy.planning import recipe
from stream.errors import WrongConfig

PROMPTS = "prompts"


def copy(name: str, directory: Path) -> Path:
    """Copy a recipe and its prompts into a new directory, and return the path of the recipe there.

    Raises:  WrongConfig when there is no such recipe, or the directory is not empty or cannot be written.
    """
    source = recipe.find(name)
    prompts = prompt.find(recipe.load(name).prompts)
    with _writable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise WrongConfig(f"{directory} is not empty: name a new directory for the copy")
        shutil.copytree(prompts, directory / PROMPTS)
        target = directory / source.name
        target.write_text(_with_own_prompts(recipe.chain_of(source)[0].text), encoding="utf-8")
    return target


def _with_own_prompts(text: str) -> str:
    """Point a recipe's text at the prompts beside it; every other line stays as it is.

    >>> print(_with_own_prompts('seed = 1\\nprompts = "x"  # why\\n[stages.a]\\n'))
    seed = 1
    prompts = "./prompts"
    [stages.a]
    <BLANKLINE>
    """
    lines = text.split("\n")
    own = f'prompts = "./{PROMPTS}"'
    for number, line in enumerate(lines):
        if line.startswith("["):
            break  # the keys of the top end here
        if line.split("=")[0].strip() == "prompts":
            lines[number] = own
            return "\n".join(lines)
    return f"{own}\n{text}"


@contextmanager
def _writable(directory: Path) -> Generator[None]:
    try:
        yield
    except OSError as err:
        raise WrongConfig(f"{err.filename or directory} cannot be written: {err.strerror}") from err
