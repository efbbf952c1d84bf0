"""The command line: each command describes itself and runs.

Enters: ``sys.argv``. Leaves: text and an exit code. It may import every room, and does
so only when a command has been chosen.
"""
