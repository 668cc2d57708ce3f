"""The one exception that a user is meant to read."""


class GlatError(Exception):
    """A failure told in one sentence: which file, key or value, what is wrong with it, and what to do.

    `glat` prints the sentence without a traceback and exits with status 1.
    """
