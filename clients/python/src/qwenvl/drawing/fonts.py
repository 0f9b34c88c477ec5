"""Fonts that can write a label: Pillow's own (Aileron, free, Latin), else the system's first that has the letters.

What this does not do: fetch fonts. Letters that no font here has are told to the caller (`runs` is None), who then
leaves them to SVG.
"""

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont
_FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
}
_UNIX = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_PREFERRED = ("notosans", "dejavusans", "arial", "pingfang", "msyh", "sourcehansans", "droidsans", "unifont")
_SHAPED = ((0x0590, 0x109F), (0x1780, 0x17FF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFF))
"""Scripts written from the right, or whose letters change with their neighbours: Pillow needs libraqm for them."""


def runs(text: str, size: int) -> list[tuple[str, Font]] | None:
    """The text in pieces, each with a font that has all of its letters; None if some letter is in no font here.

    >>> [(words, font.getname()[0]) for words, font in runs("a cat", 12)]
    [('a cat', 'Aileron')]
    >>> runs("\\U0010fffd", 12)
    """
    pieces: list[tuple[str, Font]] = []
    for letter in unicodedata.normalize("NFC", text):
        if pieces and (letter.isspace() or unicodedata.combining(letter) or _has(_path(pieces[-1][1]), letter)):
            pieces[-1] = (pieces[-1][0] + letter, pieces[-1][1])
            continue
        path = _font_with(letter)
        if path is None:
            return None
        pieces.append((letter, _open(path, size)))
    return pieces


@cache
def _font_with(letter: str) -> str | None:
    """The file of the first font with this letter; "" is Pillow's own."""
    if any(first <= ord(letter) <= last for first, last in _SHAPED) and not features.check("raqm"):
        return None
    return next((path for path in ("", *_files()) if _has(path, letter)), None)


@cache
def _has(path: str, letter: str) -> bool:
    """Whether the font draws the letter, and not the box that stands for one it has not."""
    if letter.isspace():
        return True
    font = _open(path, 16)
    drawn = font.getmask(letter)
    missing = font.getmask("\U0010ffff")
    return any(drawn) and (drawn.size != missing.size or bytes(drawn) != bytes(missing))


def _path(font: Font) -> str:
    return font.path if isinstance(font.path, str) else ""  # Pillow's own comes from memory


@cache
def _open(path: str, size: int) -> Font:
    if path:
        return ImageFont.truetype(path, size)
    font = ImageFont.load_default(size)
    assert isinstance(font, Font)
    return font


@cache
def _files() -> tuple[str, ...]:
    """The system's fonts that can be opened: upright ones without serifs first."""
    folders = [Path(name).expanduser() for name in _FOLDERS.get(sys.platform, _UNIX)]
    found = (path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*")))
    fonts = [path for path in found if path.suffix.lower() in {".ttf", ".otf", ".ttc"}]
    return tuple(_that_open(sorted(fonts, key=_rank)))


def _rank(path: Path) -> tuple[int, int, str]:
    name = path.stem.lower().replace("-", "").replace(" ", "")
    known = next((at for at, start in enumerate(_PREFERRED) if name.startswith(start)), len(_PREFERRED))
    return known, sum(word in name for word in ("bold", "italic", "oblique", "mono", "serif", "cond", "light")), name


def _that_open(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        try:
            ImageFont.truetype(str(path), 16)
        except OSError:
            continue
        yield str(path)
