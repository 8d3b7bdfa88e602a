"""The built network: parts and numbers, without a face."""
