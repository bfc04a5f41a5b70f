"""Bytes of a source file to text: the encoding it declares, and "\\n" at the end of each line.

"\\r\\n" and "\\r" become "\\n", as in Python's own reading of source (also inside string literals), so the text means
the same; then each tool counts the same lines (some take a lone "\\r" for no line end), and no seed has carriage
returns that a model would learn. Form feeds and U+2028 end no line in Python and stay. The file's id is of its bytes.
"""

import codecs
import io
import tokenize

from producers.source import Reason
from stream.stage import Reject

_NO_TEXT = frozenset({"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined"})
"""Codecs that are no encoding of source text; the first decodes in quadratic time."""


def decode(content: bytes) -> str | Reject:
    """Return the text of a file, UTF-8-encodable and without NUL; or a reject, `binary` or `encoding`.

    The encoding is that of a UTF-8 byte order mark or of the coding line (PEP 263), else UTF-8.
    """
    nul = content.find(b"\0")
    if nul >= 0:
        return Reject(Reason.BINARY, f"NUL byte at offset {nul}")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    except SyntaxError as err:  # an unknown encoding, a coding line against the mark, or no UTF-8 in the first lines
        return Reject(Reason.ENCODING, f"{str(err)[:200]}{_utf8_fault(content)}")
    if codecs.lookup(encoding).name.replace("-", "_") in _NO_TEXT:
        return Reject(Reason.ENCODING, f"declares {encoding}, which is no encoding of source text")
    try:
        text = content.decode(encoding)
        text.encode()  # UTF-7, for one, can spell lone surrogates
    except UnicodeDecodeError as err:
        return Reject(Reason.ENCODING, _shown(err, content))
    except UnicodeEncodeError as err:
        return Reject(Reason.ENCODING, f"{encoding}: lone surrogate at character {err.start}")
    except LookupError:
        return Reject(Reason.ENCODING, f"declares {encoding}, which is no encoding of text")
    if "\0" in text:
        return Reject(Reason.BINARY, f"NUL character at {text.index(chr(0))}, spelled in {encoding}")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _utf8_fault(content: bytes) -> str:
    """Where the bytes stop being UTF-8, if they do: `tokenize` does not tell."""
    try:
        content.decode()
    except UnicodeDecodeError as err:
        return f"; {_shown(err, content)}"
    return ""


def _shown(err: UnicodeDecodeError, content: bytes) -> str:
    return f"{err.encoding}: byte 0x{content[err.start]:02x} at offset {err.start}: {err.reason}"
