"""What a model is put together from: small descriptions without state."""
