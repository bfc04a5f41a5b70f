"""What agrees with a reference: EvalPlus' rules, one line each."""

import base64
import math
import pickle
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from trainer.oracle import check_outputs, record_outputs


def packed(value: object) -> str:
    return base64.b85encode(zlib.compress(pickle.dumps(value))).decode()


def agrees(
    found: Any, expected: Any, *, name: str = "f", dataset: str = "humaneval", atol: float = 0, given: Any = ()
) -> bool:
    try:
        check_outputs(lambda *_: found, packed([given]), packed([expected]), name, dataset, atol)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    ("found", "expected", "atol", "same"),
    [
        (3, 3, 0, True),
        (3, 4, 0, False),
        (3, 3.0, 0, True),  # equal is equal, whatever the type
        (0.1 + 0.2, 0.3, 0, True),  # floats are never compared exactly
        (0.3001, 0.3, 0, False),
        (0.3001, 0.3, 1e-3, True),
        (1e9 + 1, 1e9, 0, True),  # relative tolerance 1e-7 besides
        ([0.1 + 0.2, 1.0], [0.3, 1.0], 0, True),
        ([0.3], [0.3, 1.0], 0, False),
        ((0.1 + 0.2,), [0.3], 0, False),  # nor a tuple for a list, where they are not equal exactly
        ([0.1 + 0.2, 1], [0.3, 1], 0, False),  # a list of floats is one of floats alone
        ([0.1 + 0.2, 1], [0.3, 1], 1e-6, True),
        ([[0.1 + 0.2]], [[0.3]], 1e-6, True),
        (math.nan, math.nan, 0, False),
        (math.inf, math.inf, 0, True),
        (1e300, math.inf, 0, False),
        ([], [], 0, True),
        ([], [0.5], 0, False),
        (None, None, 0, True),
        (1j + 1e-9, 1j, 1e-6, True),
    ],
)
def test_values_are_compared_as_evalplus_does(found: object, expected: object, atol: float, same: bool):
    assert agrees(found, expected, atol=atol) is same


@pytest.mark.parametrize(
    ("name", "given", "found", "expected", "same"),
    [
        ("are_equivalent", (1, 2), False, True, True),
        ("sum_div", (8,), 0, 7, True),
        ("sum_div", (8,), 1, 7, False),
        ("surface_Area", (3, 4), 35, 33, True),  # 9 + 6 * sqrt(18.25) = 34.6: the height is that of the pyramid
        ("surface_Area", (3, 4), 36, 33, False),
        ("digit_distance_nums", (1, 256), 12, 6, True),  # |0-2| + |0-5| + |1-6|
        ("digit_distance_nums", (1, 256), 13, 6, False),
        ("similar_elements", ((1, 2), (2, 1)), (2, 1), (1, 2), True),
        ("check_str", ("a",), "Valid", True, True),
        ("check_str", ("a",), None, False, True),
        ("check_str", ("a",), False, True, False),
    ],
)
def test_special_tasks_of_mbpp_have_their_own_rule(
    name: str, given: object, found: object, expected: object, same: bool
):
    assert agrees(found, expected, name=name, dataset="mbpp", given=given) is same
    if name not in ("sum_div", "surface_Area", "digit_distance_nums") or same:
        assert agrees(found, expected, name=name, dataset="humaneval", given=given) is (found == expected)


def test_any_zero_of_the_polynomial_is_as_good_as_the_references():
    given = ([-6, 11, -6, 1],)  # zeros 1, 2 and 3
    assert agrees(3.0, 1.0, name="find_zero", atol=1e-4, given=given)
    assert not agrees(2.5, 1.0, name="find_zero", atol=1e-4, given=given)


def test_a_solution_gets_a_copy_of_its_input_and_what_it_prints_goes_nowhere(capsys: pytest.CaptureFixture[str]):
    def spoils(values: list[int]) -> int:
        print("noise")
        values.clear()
        return 0

    check_outputs(spoils, packed([([1, 2],)]), packed([0]), "find_zero", "mbpp", 0)
    assert capsys.readouterr().out == ""
    with pytest.raises(AssertionError, match=r"input 0: f\(\[1, 2\]\) gives 0, not 7"):
        check_outputs(spoils, packed([([1, 2],)]), packed([7]), "f", "mbpp", 0)


def test_without_an_input_nothing_is_shown():
    with pytest.raises(AssertionError, match="0 of 0 inputs were compared"):
        check_outputs(lambda: 0, packed([]), packed([]), "f", "mbpp", 0)


def test_what_a_reference_gives_is_recorded_as_it_is_and_as_seen_or_not_where_it_cannot_be(
    capsys: pytest.CaptureFixture[str],
):
    def recorded(reference: Callable[..., object], dataset: str) -> Any:
        return pickle.loads(
            zlib.decompress(base64.b85decode(record_outputs(reference, packed([(1,), (-1,)]), dataset)))
        )

    def mixed(x: int) -> object:
        print("noise")
        return {1, 2.5, (x, None)}

    def check_str(x: int) -> object:
        return (n for n in ()) if x > 0 else None

    assert recorded(mixed, "mbpp") == [{1, 2.5, (1, None)}, {1, 2.5, (-1, None)}]
    assert recorded(check_str, "mbpp") == [True, False]
    assert capsys.readouterr().out == ""
