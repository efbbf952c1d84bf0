"""Rows on disk: written whole, read as memory allows.

Enters: blocks of rows to write, or paths and row ids to read. Leaves: a directory that
appears whole or not at all, or checked rows and what is stored beside them. It imports
the ground, `memory`, `order` and `rows`; it does not know `batches`.

The verbs: **take** is public and returns scipy; **read** is checked and canonical;
**gather** copies from maps; **fetch** moves bytes; **fill** is many fetches.
"""
