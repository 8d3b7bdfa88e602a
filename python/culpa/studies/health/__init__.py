"""The health of a network: diagnosis by its numbers, at once or while it trains."""

from culpa.studies.health.diagnosis import Diagnosis, diagnose
from culpa.studies.health.findings import Finding, LayerHealth
from culpa.studies.health.healthcheck import HealthCheck

__all__ = ["Diagnosis", "Finding", "HealthCheck", "LayerHealth", "diagnose"]
