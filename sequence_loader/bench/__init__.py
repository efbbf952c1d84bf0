"""Measure a store on this machine, and advise.

Enters: the paths of a store, perhaps a compiled model, and how many seconds it may
take. Leaves: `Results`, as tables, a chart or JSON, and a line to paste. It may import
every room below it but the demo.
"""
