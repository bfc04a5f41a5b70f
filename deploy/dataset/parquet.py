"""The border to pyarrow, which carries no types of its own: Python types to Arrow's, rows to a Parquet file."""

import dataclasses
import importlib
import types
import typing
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NewType, Protocol

_arrow: Any = importlib.import_module("pyarrow")
_parquet: Any = importlib.import_module("pyarrow.parquet")


class Writer(Protocol):
    """An open Parquet file."""

    def __call__(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write rows as one row group."""
        ...


@contextmanager
def writer(path: Path, columns: Mapping[str, object]) -> Generator[Writer]:
    """Open a Parquet file with `columns`, name -> Python type. Equal rows in equal groups give equal bytes."""
    schema = _arrow.schema([_arrow.field(name, arrow_type(kind)) for name, kind in columns.items()])
    # The settings decide the bytes, so they are all here; neither time nor host is written.
    with _parquet.ParquetWriter(path, schema, version="2.6", compression="zstd") as file:

        def write(rows: Sequence[Mapping[str, object]]) -> None:
            file.write_table(_arrow.Table.from_pylist(rows, schema), row_group_size=len(rows))

        yield write


def arrow_type(kind: Any) -> Any:
    """Return the Arrow type for the type of a record's field.

    >>> arrow_type(tuple[str, ...])
    ListType(list<item: string>)
    >>> str(arrow_type(int | None))
    'int64'
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, NewType):
        return arrow_type(kind.__supertype__)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [a for a in args if a is not types.NoneType]
        return arrow_type(inner)
    if origin is typing.Literal:
        return _arrow.string()
    if origin is tuple:
        return _arrow.list_(arrow_type(args[0]))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return _arrow.struct([_arrow.field(f.name, arrow_type(hints[f.name])) for f in dataclasses.fields(kind)])
    return {str: _arrow.string(), int: _arrow.int64(), float: _arrow.float64(), bool: _arrow.bool_()}[kind]
