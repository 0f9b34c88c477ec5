"""Makes the samples of the playground from the demo's scenes: the same files again from the same seeds.

    python clients/playground/samples/make.py [FOLDER]

Seeds are odd, as for everything that is not training. The tests take the answers that belong to the samples from here.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402

from demo.scenes import Clip, Page, Picture, Screen, clip, picture, save_mp4, save_pdf, save_png, scaled_page, screen  # noqa: E402

PAGE_SCALE, DPI = 2, 101.6
THUMBNAIL_PX = 144

PICTURES: Mapping[str, Picture] = {
    "shapes": picture(41, (960, 640), 6),
    "stars": picture(27, (800, 800), (12, 14), (0.1, 0.16)),
    "tall": picture(57, (540, 810), 5),
}
PAGES: tuple[Page, ...] = tuple(scaled_page(seed, PAGE_SCALE) for seed in (11, 13, 15))
RECEIPT: Page = scaled_page(57, PAGE_SCALE)
CLIP: Clip = clip(31, 24, (448, 336), fps=12, max_events=5)
SCREEN: Screen = screen(17, (1280, 800), 6)


def make(folder: Path) -> None:
    """Writes every sample and its thumbnail."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, scene in PICTURES.items():
        save_png(scene, folder / f"{name}.png")
        _thumbnail(scene.image, folder / f"{name}.thumbnail.webp")
    save_png(RECEIPT, folder / "page.png")
    _thumbnail(RECEIPT.image, folder / "page.thumbnail.webp")
    save_pdf(PAGES, folder / "pages.pdf", DPI)
    _thumbnail(PAGES[0].image, folder / "pages.thumbnail.webp")
    save_mp4(CLIP, folder / "clip.mp4")
    _thumbnail(CLIP.frame(CLIP.events[0].start_s + 1), folder / "clip.thumbnail.webp")
    save_png(SCREEN, folder / "screen.png")
    _thumbnail(SCREEN.image, folder / "screen.thumbnail.webp")


def _thumbnail(image: Image.Image, path: Path) -> None:
    small = image.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small.save(path, "WEBP", quality=80)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
