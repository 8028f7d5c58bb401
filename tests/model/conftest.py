"""Hypothesis profiles: `fast` in every test run, `slow` for a long search (`HYPOTHESIS_PROFILE=slow`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("fast", max_examples=150, deadline=None, suppress_health_check=QUIET)
settings.register_profile("slow", max_examples=5000, deadline=None, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
