"""Compiled loops over events, the tape that records a ``step``, and a check of the backends."""
