"""Does a solution agree with the reference? The two functions here run inside the sandbox, as source behind the code
they test, in a namespace of their own, so each is whole in itself, with the standard library alone; and tested here as
ordinary functions.

Source: EvalPlus (github.com/evalplus/evalplus), `check_output`, its special cases by name. numpy's `allclose` is
written out, as the sandbox has no numpy.
"""

from collections.abc import Callable
from typing import Any


def record_outputs(reference: Callable[..., Any], packed: str, dataset: str) -> str:
    """Return what the reference gives for each input, packed as the inputs are."""
    import base64
    import contextlib
    import io
    import pickle
    import zlib

    inputs = pickle.loads(zlib.decompress(base64.b85decode(packed)))  # noqa: S301 - packed by us
    with contextlib.redirect_stdout(io.StringIO()):
        outputs = [reference(*arguments) for arguments in inputs]
    # What these return cannot be carried away; all that MBPP asks of it is whether it is None.
    if dataset == "mbpp" and reference.__name__ in ("check_str", "text_match_three", "text_starta_endb"):
        outputs = [output is not None for output in outputs]
    assert len(outputs) == len(inputs)
    return base64.b85encode(zlib.compress(pickle.dumps(outputs))).decode()


def check_outputs(
    candidate: Callable[..., Any], inputs: str, outputs: str, name: str, dataset: str, atol: float
) -> None:
    """Assert that a function gives what is expected for each input.

    Raises:  AssertionError naming the first input that it does not; whatever the function raises.
    """
    import base64
    import contextlib
    import copy
    import io
    import math
    import pickle
    import zlib

    class Nowhere(io.StringIO):
        def write(self, s: str) -> int:
            return len(s)

    def unpacked(packed: str) -> Any:
        return pickle.loads(zlib.decompress(base64.b85decode(packed)))  # noqa: S301 - packed by us, in the sandbox

    def is_row(value: Any) -> bool:
        return isinstance(value, (list, tuple))

    def close(found: Any, expected: Any, atol: float) -> bool:
        if is_row(expected):
            same = is_row(found) and len(found) == len(expected)
            return same and all(close(f, e, atol) for f, e in zip(found, expected, strict=True))
        if found == expected:
            return True
        distance = abs(found - expected)
        return bool(distance <= atol + 1e-7 * abs(expected)) and math.isfinite(abs(expected))

    def pyramid_surface(base: float, height: float) -> int:
        return round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))

    def digit_distance(one: int, other: int) -> int:
        width = max(len(str(one)), len(str(other)))
        pairs = zip(str(one).zfill(width), str(other).zfill(width), strict=True)
        return sum(abs(int(a) - int(b)) for a, b in pairs)

    def special(arguments: Any, found: Any, expected: Any) -> bool:
        """Whether the answer is as good as the expected one, where a task has more than one."""
        if name == "are_equivalent":
            return True
        if name == "sum_div":
            return bool(found == 0)
        if name == "surface_Area":
            return bool(abs(found - pyramid_surface(*arguments)) <= atol)
        return name == "digit_distance_nums" and bool(found == digit_distance(*arguments))

    def agrees(arguments: Any, found: Any, expected: Any) -> bool:
        exact = bool(found == expected)
        if dataset == "humaneval" and name == "find_zero":
            return abs(sum(c * math.pow(found, i) for i, c in enumerate(arguments[0]))) <= atol
        if dataset == "mbpp":
            if name in (
                "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
                "intersection_array", "find_dissimilar", "Diff",
            ):  # fmt: skip
                exact = set(found) == set(expected)
            elif name in ("check_str", "text_match_three", "text_starta_endb"):
                exact = bool(found == expected) if isinstance(found, bool) else expected == (found is not None)
            else:
                exact = exact or special(arguments, found, expected)
        values = expected if is_row(expected) else [expected]
        floats = bool(values) and all(isinstance(value, float) for value in values)
        tolerance = 1e-6 if atol == 0 and floats else atol
        if exact or tolerance == 0:
            return exact
        return type(found) is type(expected) and close(found, expected, tolerance)

    cases, compared = unpacked(inputs), 0
    for number, (arguments, expected) in enumerate(zip(cases, unpacked(outputs), strict=True)):
        given = copy.deepcopy(arguments)
        with contextlib.redirect_stdout(Nowhere()), contextlib.redirect_stderr(Nowhere()):
            found = candidate(*given)
        shown = ", ".join(map(repr, arguments))
        assert agrees(arguments, found, expected), (
            f"input {number}: {name}({shown:.300}) gives {found!r:.300}, not {expected!r:.300}"
        )
        compared += 1
    assert 0 < compared == len(cases), f"{compared} of {len(cases)} inputs were compared"
