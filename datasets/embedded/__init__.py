"""Recordings that come with the package; see ``ATTRIBUTION.md`` for their authors and licence."""
