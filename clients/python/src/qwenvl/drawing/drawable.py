"""What a result can do that has places in a picture: draw itself, show itself, save itself."""

import io
import os
import sys
import warnings
from abc import abstractmethod
from pathlib import Path

from PIL import Image

from qwenvl.drawing import png, svg
from qwenvl.drawing.marks import Mark
from qwenvl.drawing.pictures import picture_of
from qwenvl.errors import QwenVLError
from qwenvl.inputs import MediaInput, Source, source


class UnwrittenLabelsWarning(UserWarning):
    """No font on this machine has the letters of some labels."""


class Drawable:
    """Something with marks over a picture."""

    @abstractmethod
    def marks(self) -> list[Mark]:
        """What is drawn, in pixels of the picture."""

    @abstractmethod
    def _drawn_on(self) -> tuple[Source | None, tuple[int, int] | None, int]:
        """(The picture that was asked about, its size as (width, height), the page of it that is meant)."""

    def draw(self, image: MediaInput | None = None) -> Image.Image:
        """The picture with what was found drawn on it, as a PIL picture.

        `image` is needed only for results that did not come from a client in this process. Labels in letters that no
        font here has are drawn as numbers, with a warning.
        """
        picture, unwritten = png.drawn(self._picture(image), self.marks())
        if unwritten:
            warnings.warn(f"no font here can write {unwritten}; save as .svg", UnwrittenLabelsWarning, stacklevel=2)
        return picture

    def save_overlay(self, path: str | os.PathLike[str], image: MediaInput | None = None) -> Path:
        """Save the picture with what was found: `.png`, `.jpg`, `.webp` or `.svg`. The path.

        Where no font here has a label's letters the picture has the label's number, and an SVG beside it the words.
        """
        path = Path(path)
        picture = self._picture(image)
        if path.suffix.lower() == ".svg":
            path.write_text(svg.drawn(picture, self.marks()), "utf-8")
            return path
        drawn, unwritten = png.drawn(picture, self.marks())
        drawn.save(path)
        if unwritten:
            beside = path.with_suffix(".svg")
            beside.write_text(svg.drawn(picture, self.marks()), "utf-8")
            told = f"no font here can write {unwritten}: numbered in {path.name}, written in {beside.name}"
            warnings.warn(told, UnwrittenLabelsWarning, stacklevel=2)
        return path

    def show(self, image: MediaInput | None = None) -> None:
        """Show the picture with what was found: in the notebook, or in this machine's viewer."""
        picture = self.draw(image)
        if "ipykernel" in sys.modules:
            from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

            display(picture)
        else:
            picture.show()

    def _repr_png_(self) -> bytes | None:
        """For notebooks, which draw the last value of a cell; None where there is nothing to draw on."""
        out = io.BytesIO()
        try:
            self.draw().save(out, "PNG")
        except (ValueError, ImportError, OSError, QwenVLError):
            return None
        return out.getvalue()

    def _picture(self, image: MediaInput | None) -> Image.Image:
        known, wh, page = self._drawn_on()
        from_where = known if image is None else source(image)
        if from_where is None:
            raise ValueError("this result does not know its picture; give it: image=...")
        return picture_of(from_where, wh, page)
