"""Tells which tests were skipped, and fails if others were than may be.

Arguments: "bare" or "torch", for the environment, and files of ``--junitxml``.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

# Reason: the most tests that may give it, without torch and beside it.
ALLOWED = {
    "torch is not installed": (12, 0),
    r"about (tensorflow|jax|torch|tf_keras|keras_3)( and .*)?": (8, 8),
    # Some systems lack what others have.
    "the system has no such call": (9, 0),
    "the system does not take such advice": (2, 0),
    "the file system has no page cache that can be dropped": (3, 0),
    "the file system does not exchange directories": (1, 0),
    "mounting needs root": (1, 0),
}


def main() -> None:
    environment, *files = sys.argv[1:]
    cases = [
        case for file in files for case in ElementTree.parse(file).iter("testcase")
    ]
    skipped = [
        (skip.get("message") or "", f"{case.get('classname')}::{case.get('name')}")
        for case in cases
        for skip in case.iter("skipped")
    ]
    counts = Counter(reason for reason, _ in skipped)
    wrong = []
    for reason, count in counts.items():
        most = [
            limits[environment == "torch"]
            for pattern, limits in ALLOWED.items()
            if re.fullmatch(pattern, reason)
        ]
        if not most or count > most[0]:
            wrong.append(f"{count} tests were skipped: {reason}")
    for reason, test in sorted(skipped):
        print(f"skipped: {test}: {reason}")
    print(f"{len(cases)} tests, {len(skipped)} of them skipped")
    if not cases or wrong:
        sys.exit("\n".join([f"More than may be ({environment}):", *wrong]))


if __name__ == "__main__":
    main()
