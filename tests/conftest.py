"""Every run draws the same examples: a failure in CI is one that can be had again."""

from hypothesis import settings

settings.register_profile("palimpsest", deadline=None, derandomize=True)
settings.load_profile("palimpsest")
