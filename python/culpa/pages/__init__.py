"""One example's guess, loss, blame and fix, told on one page."""

from culpa.pages.page import page

__all__ = ["page"]
