"""x."""

network = None
