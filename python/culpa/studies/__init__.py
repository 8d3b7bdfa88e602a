"""Studies: many walks of a model, or many models."""
