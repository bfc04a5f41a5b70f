"""TOML into frozen dataclasses. A wrong file says which line of which table is wrong, and what was expected. Pure.

A table is a dataclass: its fields are the only keys it takes, those without a default must be there. `dict[str, T]`
is a table whose keys the user names; `tuple[T, ...]` is an array. A field's own rule goes into the dataclass's
`__post_init__` as a ValueError or a WrongConfig, which is reported with the table's line.
"""

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import msgspec

from stream.errors import WrongConfig

T = TypeVar("T")

Keys = tuple[str | int, ...]
"""Where a value stands: keys of tables and indices of arrays, from the top of the file."""


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file: its name for messages, its text for line numbers, its tables."""

    name: str
    text: str
    data: Mapping[str, Any]

    def line(self, keys: Keys) -> int | None:
        """Return the line, counted from 1, that defines the value at `keys`; None when it is not in this document.

        >>> parse('a = 1\\n\\n[b]\\n# why\\nc = [\\n  2,\\n]\\n').line(("b", "c"))
        5
        """
        # The parser tells no positions. But the line that defines a value is the first one after the longest run of
        # whole statements without it, and what is a whole statement the parser does tell.
        lines = self.text.split("\n")
        start = 0  # lines known not to define it
        for end in range(1, len(lines) + 1):
            try:
                seen: Any = tomllib.loads("\n".join(lines[:end]))
            except tomllib.TOMLDecodeError:
                continue  # inside a value of several lines
            if _holds(seen, keys):
                while not lines[start].strip() or lines[start].lstrip().startswith("#"):
                    start += 1
                return start + 1
            start = end
        return None

    def at(self, keys: Keys) -> str:
        """Name the place for a message: file, line, table and key."""
        line = next((n for n in (self.line(keys[:depth]) for depth in range(len(keys), 0, -1)) if n), None)
        return f"{self.name}{f', line {line}' if line else ''}{f', {dotted(keys)}' if keys else ''}"


def dotted(keys: Keys) -> str:
    """Write keys as a person would.

    >>> dotted(("llm", "local", "url", 0))
    'llm.local.url[0]'
    """
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in keys).removeprefix(".")


def read(path: Path) -> Document:
    """Read a TOML file.

    Raises:  WrongConfig when it cannot be read or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise WrongConfig(f"{path} cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise WrongConfig(f"{path} is not UTF-8: {err.reason} at byte {err.start}") from err
    return parse(text, str(path))


def parse(text: str, name: str = "<text>") -> Document:
    """Parse TOML text.

    Raises:  WrongConfig when it is not TOML.
    """
    try:
        return Document(name, text, tomllib.loads(text))
    except (ValueError, RecursionError) as err:  # not only TOMLDecodeError: an integer of 5,000 digits, 2,000 brackets
        raise WrongConfig(f"{name} is not TOML: {err}") from err


def placed(document: Document, folder: Path, keys: Sequence[str]) -> Document:
    r"""Return the document with the paths among the values of `keys`, those with a "/" or of a TOML file, taken from
    `folder`.

    >>> placed(parse('a = "./x"\nb = "y"\n'), Path("in"), ("a", "b", "c")).data
    {'a': 'in/x', 'b': 'y'}
    """
    found = {key: value for key in keys if isinstance(value := document.data.get(key), str)}
    paths = {key: str(folder / value) for key, value in found.items() if "/" in value or value.endswith(".toml")}
    return dataclasses.replace(document, data={**document.data, **paths})


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` in place of its own; tables merge, all else is replaced whole.

    >>> merge({"a": 1, "t": {"x": 1, "y": 2}}, {"t": {"y": 3}})
    {'a': 1, 't': {'x': 1, 'y': 3}}
    """
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        both = isinstance(mine, dict) and isinstance(value, dict)
        merged[key] = merge(cast("dict[str, Any]", mine), cast("dict[str, Any]", value)) if both else value
    return merged


def convert(value: object, kind: type[T], documents: Sequence[Document], keys: Keys = ()) -> T:
    """Return `value`, which stands at `keys` in the first of `documents` that has it, as a `kind`.

    Raises:  WrongConfig for an unknown key, a missing key or a value of another type.
    """
    return cast("T", _convert(value, kind, documents, keys))


def suggestion(wrong: str, known: Sequence[str]) -> str:
    """Return what to say after naming an unknown word.

    >>> suggestion("modle", ["model", "url"])
    'did you mean model?'
    >>> suggestion("zebra", ["url", "model"])
    'expected one of model, url'
    """
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(sorted(known))}"


def refuse(message: str, documents: Sequence[Document], keys: Keys) -> NoReturn:
    """Raise WrongConfig with the place of `keys` before the message."""
    document = next((d for d in documents if _holds(d.data, keys)), documents[0])
    raise WrongConfig(f"{document.at(keys)}: {message}")


def _convert(value: object, kind: Any, documents: Sequence[Document], keys: Keys) -> object:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType) and types.NoneType in args:
        rest = typing.Union[tuple(a for a in args if a is not types.NoneType)]  # noqa: UP007 - built at run time
        return None if value is None else _convert(value, rest, documents, keys)
    if dataclasses.is_dataclass(kind):
        return _table(value, cast("type[Any]", kind), documents, keys)
    if origin is typing.Literal:
        if value not in args:
            refuse(f"expected one of {', '.join(map(str, args))}, got {value!r}", documents, keys)
        return value
    if origin is dict:
        return {k: _convert(v, args[1], documents, (*keys, k)) for k, v in _mapping(value, documents, keys).items()}
    if origin is tuple and args[-1] is Ellipsis and isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return tuple(_convert(item, args[0], documents, (*keys, i)) for i, item in enumerate(items))
    if kind is Path and isinstance(value, str):
        return Path(value)
    try:
        found = msgspec.convert(value, kind)
    except msgspec.ValidationError as err:
        refuse(_lower(str(err)), documents, keys)
    if isinstance(found, float) and not math.isfinite(found):  # TOML has them; nothing of ours is one
        refuse(f"expected a finite number, got {found}", documents, keys)
    return found


def _table(value: object, kind: type[Any], documents: Sequence[Document], keys: Keys) -> object:
    table = _mapping(value, documents, keys)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in table:
        if key not in fields:
            refuse(f"unknown key; {suggestion(key, list(fields))}", documents, (*keys, key))
    for name, field in fields.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in table and not has_default:
            refuse(f"the key {name} is missing", documents, keys)
    converted = {name: _convert(item, hints[name], documents, (*keys, name)) for name, item in table.items()}
    try:
        return kind(**converted)
    except (ValueError, WrongConfig) as err:
        refuse(str(err), documents, keys)


def _mapping(value: object, documents: Sequence[Document], keys: Keys) -> Mapping[str, object]:
    if not isinstance(value, dict):
        refuse(f"expected a table, got {type(value).__name__}", documents, keys)
    return cast("dict[str, object]", value)


def _holds(data: object, keys: Keys) -> bool:
    here = data
    for key in keys:
        if isinstance(key, str) and isinstance(here, Mapping):
            table = cast("Mapping[str, object]", here)
            if key not in table:
                return False
            here = table[key]
        elif isinstance(key, int) and isinstance(here, Sequence) and not isinstance(here, str):
            array = cast("Sequence[object]", here)
            if key >= len(array):
                return False
            here = array[key]
        else:
            return False
    return True


def _lower(message: str) -> str:
    # msgspec says "Expected `int`, got `str`"; ours goes on after a colon.
    return message[:1].lower() + message[1:].replace("`", "")
