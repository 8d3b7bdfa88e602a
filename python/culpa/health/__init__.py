"""The health of a network: diagnosis by its numbers, at once or while it trains."""

from culpa.health.diagnosis import Diagnosis, diagnose
from culpa.health.findings import Finding, LayerHealth
from culpa.health.healthcheck import HealthCheck

__all__ = ["Diagnosis", "Finding", "HealthCheck", "LayerHealth", "diagnose"]
