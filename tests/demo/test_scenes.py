"""Scenes are the same for the same seed, their answers are exactly what is drawn, and their files read back."""

import itertools
from pathlib import Path

import av
import pypdfium2
import pytest
from PIL import Image, ImageChops

from demo import scenes


def near(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """White where a pixel is within 40 levels of `colour`."""
    off = ImageChops.difference(image, Image.new("RGB", image.size, colour)).split()
    worst = ImageChops.lighter(ImageChops.lighter(off[0], off[1]), off[2])
    return worst.point(lambda level: 255 if level <= 40 else 0)


@pytest.mark.parametrize("make", [scenes.picture, scenes.page, scenes.screen])
def test_a_seed_gives_the_same_scene_and_another_seed_another(make) -> None:
    first, again, other = make(7), make(7), make(8)
    assert first.image.tobytes() == again.image.tobytes()
    assert (first.image.size, first.image.tobytes()) != (other.image.size, other.image.tobytes())


def test_a_seed_gives_the_same_clip() -> None:
    first, again = scenes.clip(3, 6), scenes.clip(3, 6)
    assert first == again
    assert first != scenes.clip(4, 6)
    pairs = zip(first.frames(), again.frames(), strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("seed", range(1, 41, 2))
def test_a_box_holds_every_pixel_of_its_shape_and_touches_each_side(seed: int) -> None:
    scene = scenes.picture(seed, (320, 240), count=1)
    (thing,) = scene.objects
    drawn = near(scene.image, scenes.COLOURS[thing.colour]).getbbox()
    assert drawn == thing.bbox


@pytest.mark.parametrize("seed", range(1, 60, 2))
def test_shapes_lie_inside_the_picture_and_do_not_touch(seed: int) -> None:
    scene = scenes.picture(seed)
    width, height = scene.image.size
    for thing in scene.objects:
        x1, y1, x2, y2 = thing.bbox
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
    for a, b in itertools.combinations([thing.bbox for thing in scene.objects], 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_canvases_are_small_and_large_and_of_odd_aspect() -> None:
    sizes = [scenes.picture(seed).image.size for seed in range(1, 200, 2)]
    assert min(map(min, sizes)) < 160
    assert max(map(max, sizes)) > 1000
    assert max(max(size) / min(size) for size in sizes) > 2.5


@pytest.mark.parametrize("seed", range(1, 40, 2))
def test_events_follow_one_another_within_the_clip(seed: int) -> None:
    clip = scenes.clip(seed)
    assert 5 <= clip.duration_s <= 120
    assert clip.events
    assert all(event.end_s - event.start_s >= 2 for event in clip.events)
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(clip.events))
    assert clip.events[-1].end_s <= clip.duration_s


def test_a_shape_is_on_screen_from_its_start_until_just_before_its_end() -> None:
    clip = scenes.clip(5, 20)
    event = clip.events[0]
    empty = Image.new("RGB", clip.wh, clip.background)

    def shows(time_s: float) -> bool:
        return ImageChops.difference(clip.frame(time_s), empty).getbbox() is not None

    assert shows(event.start_s)
    assert shows(event.end_s - 0.01)
    assert not any(shows(time_s / 4) for time_s in range(80) if not any(
        e.start_s <= time_s / 4 < e.end_s for e in clip.events
    ))  # fmt: skip


def test_a_moving_shape_ends_at_the_far_side() -> None:
    moving = [e for seed in range(1, 60) for e in scenes.clip(seed, 30).events if e.motion == "moves right"]
    assert moving
    assert all(first[0] == 0 and last[2] == 224 for first, last in (event.path for event in moving))


def test_a_written_picture_reads_back_to_the_same_pixels(tmp_path: Path) -> None:
    scene = scenes.picture(1)
    with Image.open(scenes.save_png(scene, tmp_path / "picture.png")) as read:
        assert read.tobytes() == scene.image.tobytes()


def test_a_written_clip_reads_back_frame_by_frame_at_its_times(tmp_path: Path) -> None:
    clip = scenes.clip(9, 6)
    with av.open(str(scenes.save_mp4(clip, tmp_path / "clip.mp4"))) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == clip.frame_count == 48
    for i, frame in enumerate(frames):
        assert frame.time == pytest.approx(i / clip.fps, abs=1e-3)
        difference = ImageChops.difference(frame.to_image(), clip.frame(i / clip.fps)).resize((14, 10))
        assert max(high for _, high in difference.getextrema()) < 60


def test_written_pages_read_back_with_their_size(tmp_path: Path) -> None:
    pages = [scenes.page(1), scenes.page(3, (504, 392))]
    with pypdfium2.PdfDocument(scenes.save_pdf(pages, tmp_path / "pages.pdf")) as document:
        assert [tuple(map(round, page.get_size())) for page in document] == [(392, 504), (504, 392)]
        read = document[0].render(scale=1).to_pil().convert("RGB")
    difference = ImageChops.difference(read, pages[0].image).convert("L").resize((42, 59))
    assert difference.getextrema()[1] < 60


@pytest.mark.parametrize("seed", range(1, 20, 2))
def test_blocks_of_a_page_hold_its_ink(seed: int) -> None:
    page = scenes.page(seed)
    blank = Image.new("RGB", page.image.size, (255, 255, 255))
    left = page.image.copy()
    for block in page.blocks:
        assert ImageChops.difference(page.image.crop(block.bbox), blank.crop(block.bbox)).getbbox() is not None
        left.paste((255, 255, 255), block.bbox)
    assert ImageChops.difference(left, blank).getbbox() is None


@pytest.mark.parametrize("wh", [(640, 400), (360, 640)])
def test_buttons_lie_on_the_screen_and_have_names_of_their_own(wh: tuple[int, int]) -> None:
    for seed in range(1, 20, 2):
        screen = scenes.screen(seed, wh)
        assert len({button.name for button in screen.buttons}) == 4
        for button in screen.buttons:
            assert 0 <= button.bbox[0] < button.centre[0] < button.bbox[2] <= wh[0]
            assert 0 <= button.bbox[1] < button.centre[1] < button.bbox[3] <= wh[1]
