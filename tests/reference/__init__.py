"""Slow literal versions of every method, one file for each, written from the papers and not from the package's code.

Each file settles in its docstring which reading of an open point it follows. Equations of the four source papers are
cited by number; those of the other papers by author and year alone.
"""
