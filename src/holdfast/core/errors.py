"""Errors whose message says what was expected, what was found and what to do."""


class HoldfastError(Exception):
    """Base of every error that a user can cause and mend; the command line prints it as one line."""


class UsageError(HoldfastError, ValueError):
    """An argument, a text form or a setting is wrong."""


class ConflictError(HoldfastError):
    """Two owners of one thing, or a method that cannot work beside another."""


class ModelError(HoldfastError):
    """The network cannot be used: no linear head, several heads, weights of another architecture."""


class DataError(HoldfastError):
    """The images cannot be used: no such folder, an empty class, a class missing in a split."""


class StartingPointError(HoldfastError):
    """The starting point that a saved run refers to is missing or has changed."""
