"""Answers about a network: guesses and blame, each one walk of the core."""
