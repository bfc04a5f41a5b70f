"""Programs whose very text is odd, which a text file would not show."""

from tests.attacks import Row

ROWS: list[Row] = [
    ("nothing", "", "no_tests"),
    ("nothing but space", " \n\t\n", "no_tests"),
    ("CRLF", "def f(x):\r\n    return x\r\n\r\nassert f(1) == 1\r\n", "pass"),
    ("carriage returns alone", "x = 1\rassert x == 1\r", "pass"),
    ("a byte order mark", "\ufeffassert True", "pass"),
    ("a form feed", "x = 1\n\x0c\nassert x == 1", "pass"),
    ("Latin-1", "# -*- coding: latin-1 -*-\nassert len('é') == 1".encode("latin-1"), "pass"),
    ("no newline at its end", "if True:\n    assert True", "pass"),
    ("ends inside a block", "for i in range(3):\n    assert i < 3\n    pass\n\n\n    ", "pass"),
    ("ends in a backslash", "assert True\nx = 1 \\\n", "syntax_error"),
    ("a long literal", "x = [" + "1, " * 50_000 + "]\nassert len(x) == 50_000", "pass"),
    ("a megabyte of comments", "# word\n" * 150_000 + "assert True", "pass"),
    ("more text than /tmp holds", "# word\n" * 2_500_000 + "assert True", "pass"),
    ("too many parentheses", "assert " + "(" * 1000 + ")" * 1000, "syntax_error"),
    ("too many signs", "assert " + "-" * 100_000 + "1", "syntax_error"),
    ("too many terms", "assert " + "+".join(["1"] * 100_000), "syntax_error"),
    ("too many branches", "if 0: pass\n" + "elif 0: pass\n" * 5000 + "assert True", "syntax_error"),
    ("many branches", "if 0: pass\n" + "elif 0: pass\n" * 2_000 + "else: assert True", "pass"),
    ("many terms", "x = " + " + ".join(["1"] * 2_000) + "\nassert x == 2_000", "pass"),
    ("too deep a block", "\n".join(" " * i + "if 1:" for i in range(200)) + "\n" + " " * 200 + "1", "syntax_error"),
    ("a number too long to read", "assert " + "1" * 5000, "syntax_error"),
    ("a NUL", "assert True\0", "syntax_error"),
    ("a lone surrogate", "assert '\ud800'", "syntax_error"),
    ("not UTF-8", b"assert '\xff'", "syntax_error"),
    ("UTF-16", "assert True".encode("utf-16"), "syntax_error"),
    ("a non-breaking space", "assert\u00a0True", "syntax_error"),
]
