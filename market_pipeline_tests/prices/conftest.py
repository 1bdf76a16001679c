"""Property tests that do not mind a busy machine."""

from hypothesis import HealthCheck, settings

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
