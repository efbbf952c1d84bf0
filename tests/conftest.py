"""Profiles of Hypothesis: the default is for every run, "full" for a release.

    pytest                                          a few minutes
    pytest --hypothesis-profile=full                10,000 examples a property
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "full",
    settings.get_profile("default"),
    max_examples=10_000,
)
settings.load_profile("default")
