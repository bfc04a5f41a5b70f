"""The arguments of MBPP+ as the functions take them. Its files are JSON, which has neither tuples, sets nor complex
numbers; which task had which is known by its number alone. Pure.

Source: EvalPlus (github.com/evalplus/evalplus), `mbpp_deserialize_inputs`.
"""

from collections.abc import Callable, Sequence
from typing import Any

Arguments = Sequence[Any]


def _each_a_tuple(arguments: Arguments) -> Arguments:
    return [tuple(value) for value in arguments]


def _tuples_in_each(arguments: Arguments) -> Arguments:
    return [[tuple(value) for value in values] for values in arguments]


def _tuple_of_tuples(arguments: Arguments) -> Arguments:
    return [tuple(tuple(value) for value in values) for values in arguments]


def _tuples_in_first(arguments: Arguments) -> Arguments:
    return [[tuple(value) for value in arguments[0]], arguments[1]]


def _first_a_tuple(arguments: Arguments) -> Arguments:
    return [tuple(arguments[0]), *arguments[1:]]


def _second_a_tuple(arguments: Arguments) -> Arguments:
    return [arguments[0], tuple(arguments[1])]


def _sets(arguments: Arguments) -> Arguments:
    # An empty one is a dict in MBPP's own test.
    return [[set(value) if _is_list(value) and value else {} for value in arguments[0]]]


def _mixed_tuple(arguments: Arguments) -> Arguments:
    return [tuple(tuple(value) if _is_list(value) else value for value in values) for values in arguments]


def _tuples_in_dict(arguments: Arguments) -> Arguments:
    return [{key: tuple(value) for key, value in arguments[0].items()}, *arguments[1:]]


def _tuples_all_through(value: Any) -> Any:
    return tuple(_tuples_all_through(item) for item in value) if _is_list(value) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


# fmt: off
_FORMS: tuple[tuple[tuple[int, ...], Callable[[Arguments], Arguments]], ...] = (
    ((2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809),
     _each_a_tuple),
    ((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780), _tuples_in_each),
    ((75, 413, 444, 753), _tuples_in_first),
    ((106, 750), _second_a_tuple),
    ((115,), _sets),
    ((124,), lambda arguments: [float(arguments[0]), complex(arguments[1])]),
    ((250, 307, 405, 446, 617, 720, 763, 808), _first_a_tuple),
    ((252,), lambda arguments: [complex(arguments[0])]),
    ((259, 401, 445), _tuple_of_tuples),
    ((278,), _mixed_tuple),
    ((580, 615, 791), lambda arguments: _tuples_all_through(list(arguments))),
    ((722,), _tuples_in_dict),
)
# fmt: on
_FORM_OF = {number: form for numbers, form in _FORMS for number in numbers}


def as_python(task_id: str, inputs: Sequence[Arguments]) -> list[Arguments]:
    """Return the inputs of a task, each a list of arguments, with the types that its function expects.

    >>> as_python("Mbpp/2", [[[3, 4], [5]]])
    [[(3, 4), (5,)]]
    >>> as_python("Mbpp/3", [[[3, 4]]])
    [[[3, 4]]]

    Raises:  ValueError when the task has no number, or an input is not of the form that its task has.
    """
    try:
        form = _FORM_OF.get(int(task_id.rpartition("/")[2]))
        return list(inputs) if form is None else [form(arguments) for arguments in inputs]
    except (AttributeError, IndexError, OverflowError, RecursionError, TypeError, ValueError) as err:
        raise ValueError(f"the inputs of {task_id} are not of the form that MBPP+ gives it: {err}") from err
