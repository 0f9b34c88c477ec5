"""Marks over a picture: as pixels, or as SVG, which leaves the letters to the viewer and so knows every script."""

from qwenvl.drawing.drawable import Drawable
from qwenvl.drawing.marks import Mark

__all__ = ["Drawable", "Mark"]
