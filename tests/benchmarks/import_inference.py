"""Functions per CPU-second whose imports are inferred, from the whole standard library, after they are extracted.

    python -m tests.benchmarks.import_inference [--rounds 5]

The answer is checked first: with its imports each function compiles, and none of the names that are still open is one
that an import of its file binds for good, outside the file's own package. The goal is 5,000.
"""

import argparse
import time
import warnings

from consumers.extraction import parse
from consumers.imports import Imports, infer, read, undefined_names
from tests.benchmarks._corpus import report, spread, standard_library


def functions() -> list[tuple[str, Imports]]:
    """Every function with a docstring, with the imports of its file."""
    found: list[tuple[str, Imports]] = []
    for source in standard_library():
        module = parse(source.text)
        cut = [function.code for function in module.functions if function.has_docstring and not function.broken]
        if cut:
            imports = read(module.imports(), module.definitions())
            found += [(code, imports) for code in cut]
    return found


def per_cpu_s(items: list[tuple[str, Imports]]) -> float:
    started_s = time.process_time()
    for code, imports in items:
        infer(code, imports)
    return len(items) / (time.process_time() - started_s)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds: int = arguments.parse_args().rounds
    warnings.simplefilter("ignore")  # of the compiler, about the library's own tests
    items = functions()
    with_imports = 0
    for code, imports in items:  # the answer, and the warm-up
        lines = infer(code, imports)
        whole = "\n".join((*lines, code))
        compile(whole, "seed", "exec", dont_inherit=True)
        assert not undefined_names(whole) & imports.bindings.keys(), whole
        with_imports += bool(lines)
    rates = [per_cpu_s(items) for _ in range(rounds)]
    report(
        "import_inference",
        functions=len(items),
        with_imports=with_imports,
        functions_per_cpu_s=spread(rates, 0),
        goal="functions_per_cpu_s >= 5000",
    )


if __name__ == "__main__":
    main()
