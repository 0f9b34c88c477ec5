"""Events drawn as bars over a ruler of seconds: as SVG, which writes every script, or as pixels."""

import os
import warnings
from abc import abstractmethod
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw

from qwenvl.drawing.drawable import UnwrittenLabelsWarning
from qwenvl.drawing.fonts import runs
from qwenvl.drawing.marks import colour_of

WIDTH, ROW, MARGIN, TEXT = 960, 44, 24, 15
"""Pixels: of the picture, of one event, around all, and of the letters."""


class Timeline:
    """Something with events in time."""

    duration_s: float

    @abstractmethod
    def spans(self) -> list[tuple[float, float, str]]:
        """(start, end, words) of each event, in seconds."""

    def draw(self) -> Image.Image:
        """The events as bars in time. Words that no font here can write are numbers, with a warning."""
        spans = self.spans()
        image = Image.new("RGB", (WIDTH, self._height()), "white")
        pen = ImageDraw.Draw(image)
        unwritten = []
        for number, (start_s, end_s, words) in enumerate(spans):
            top = MARGIN + number * ROW
            x1, x2 = self._x(start_s), self._x(end_s)
            pen.rectangle((x1, top + 22, max(x2, x1 + 2), top + 36), fill=colour_of(words))
            pieces = runs(f"{start_s:g}-{end_s:g} s  {words}", TEXT)
            if pieces is None:
                unwritten.append(words)
                pieces = runs(f"{start_s:g}-{end_s:g} s  {number + 1}", TEXT) or []
            x = float(MARGIN)
            for text, font in pieces:
                pen.text((x, top), text, font=font, fill="black")
                x += pen.textlength(text, font=font)
        bottom = MARGIN + len(spans) * ROW + 4
        pen.line((MARGIN, bottom, WIDTH - MARGIN, bottom), fill="grey")
        for time_s in self._ruler():
            pen.line((self._x(time_s), bottom, self._x(time_s), bottom + 5), fill="grey")
            for text, font in runs(f"{time_s:g} s", 12) or []:
                pen.text((self._x(time_s) - 8, bottom + 8), text, font=font, fill="grey")
        if unwritten:
            warnings.warn(f"no font here can write {unwritten}; save as .svg", UnwrittenLabelsWarning, stacklevel=2)
        return image

    def save_overlay(self, path: str | os.PathLike[str]) -> Path:
        """Save the events as bars in time: `.png` or `.svg`. The path."""
        path = Path(path)
        if path.suffix.lower() == ".svg":
            path.write_text(self._svg(), "utf-8")
        else:
            self.draw().save(path)
        return path

    def show(self) -> None:
        """Show the events as bars in time."""
        self.draw().show()

    def _svg(self) -> str:
        height, spans = self._height(), self.spans()
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="{TEXT}"><rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        ]
        for number, (start_s, end_s, words) in enumerate(spans):
            top = MARGIN + number * ROW
            x1, width = self._x(start_s), max(self._x(end_s) - self._x(start_s), 2)
            colour = "#{:02x}{:02x}{:02x}".format(*colour_of(words))
            parts.append(f'<rect x="{x1:.1f}" y="{top + 22}" width="{width:.1f}" height="14" fill="{colour}"/>')
            parts.append(f'<text x="{MARGIN}" y="{top + 14}">{start_s:g}-{end_s:g} s  {escape(words)}</text>')
        bottom = MARGIN + len(spans) * ROW + 4
        parts.append(f'<path d="M{MARGIN} {bottom}H{WIDTH - MARGIN}" stroke="grey"/>')
        parts += [
            f'<text x="{self._x(time_s):.1f}" y="{bottom + 18}" font-size="12" fill="grey" '
            f'text-anchor="middle">{time_s:g} s</text>'
            for time_s in self._ruler()
        ]
        return "".join([*parts, "</svg>\n"])

    def _height(self) -> int:
        return 2 * MARGIN + len(self.spans()) * ROW + 24

    def _x(self, time_s: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * time_s / max(self.duration_s, 0.01)

    def _ruler(self) -> list[float]:
        """About ten round times."""
        steps = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
        step = next((each for each in steps if self.duration_s / each <= 12), 7200)
        return [round(at * step, 1) for at in range(int(self.duration_s / step) + 1)]
