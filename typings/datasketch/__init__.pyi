"""Types of the part of datasketch that we use: it ships none."""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

class MinHash:
    hashvalues: NDArray[np.uint32]
    def __init__(
        self,
        num_perm: int = 128,
        seed: int = 1,
        hashfunc: Callable[[int], int] | None = None,
        *,
        scheme: Literal["affine32"],
    ) -> None: ...
    def update_batch(self, b: Iterable[int]) -> None: ...
    def copy(self) -> MinHash: ...
