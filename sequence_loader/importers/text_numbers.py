"""Numbers in text: what is one to anybody, and which of them no float is.

Python also reads ``1_0``, and rounds in silence: ``1e400`` to infinity, and the
integers beyond 2**53 to their neighbours.
"""

from __future__ import annotations

import math
import re

INTEGER = re.compile(r"[+-]?[0-9]+\Z")
REAL = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?"
    r"|nan|inf|infinity)\Z",
    re.IGNORECASE | re.ASCII,
)
MEANT = re.compile(r"[+-]?[0-9]*(,[0-9]+|\.?[0-9]+\.?[dD][+-]?[0-9]+)\Z")
"""Numbers by other conventions: ``1,5``, and Fortran's ``1D2``."""
WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?\Z")


def beyond(text: str) -> str | None:
    """Why no float is that number, and the mend; `None` if one is as near as can be."""
    number = float(text)
    if math.isinf(number):
        spelled = "inf" in text.lower()
        return None if spelled else "is beyond float64. Write inf, if that is meant"
    whole = WHOLE.match(text)
    if whole is None or abs(number) < 2**53 or int(whole[1]) == number:
        return None
    return (
        "is an integer that float64 cannot hold. Count from 0, or write it like "
        "9.1e15, if it is an amount"
    )
