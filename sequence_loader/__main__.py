"""Runs the command line: ``python -m sequence_loader``."""

from __future__ import annotations

import sys

from sequence_loader.cli.main import main

# The guard matters: processes that the demo spawns import this module again.
if __name__ == "__main__":
    sys.exit(main())
