"""Training: the fix, repeated, and what may happen between its steps."""
