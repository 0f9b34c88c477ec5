"""Pages of a document and screens with buttons, with what is written on them and where.

Letters are Pillow's own built-in outline font (Aileron, CC0), so that no font has to be installed.
"""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageFont

Box = tuple[int, int, int, int]

WORDS = (
    "river", "stone", "paper", "light", "garden", "window", "market", "winter", "summer", "music", "letter", "bridge",
    "coffee", "silver", "simple", "open", "quiet", "early", "north", "table", "number", "result", "small", "large",
)  # fmt: skip
FIELDS = ("total", "date", "order", "room", "price", "code")
PAGE_WH, PRINT_PX = (392, 504), 28
"""Large print: the demo checkpoint is shown a page of this size at half of it."""
SCREEN_SIZES = ((640, 400), (800, 600), (400, 640), (1024, 576))
CAPITAL_MIDDLE = 0.64
"""Of the type size, from the line's top."""
BUTTONS = ("Save", "Cancel", "Send", "Open", "Close", "Search", "Login", "Help", "Back", "Next", "Menu", "Delete")


@dataclass(frozen=True)
class Line:
    """One line of writing."""

    text: str
    bbox: Box
    """Of its ink."""
    edges_x: tuple[float, ...]
    """Where each letter begins, and where the last one ends."""
    middle_y: float
    """Half way up its capitals."""


@dataclass(frozen=True)
class Block:
    """One block of a page in reading order."""

    kind: str
    """h1, p, table or image: the tag that Qwen's HTML gives it (`div class="image"` for an image)."""
    bbox: Box
    text: str
    """Words as written; for a table, cells joined by tabs and rows by line ends; empty for an image."""
    lines: tuple[Line, ...] = ()
    """As written; of a table one for each cell."""


@dataclass(frozen=True)
class Page:
    image: Image.Image
    blocks: tuple[Block, ...]
    values: dict[str, str]
    """The table's rows: what `extract` should find."""

    @property
    def html(self) -> str:
        """QwenVL HTML with `data-bbox` in this page's pixels."""
        return "<html><body>\n" + "\n".join(block_html(block) for block in self.blocks) + "\n</body></html>"


@dataclass(frozen=True)
class Button:
    name: str
    bbox: Box
    line: Line
    """The name, as written on it."""

    @property
    def centre(self) -> tuple[int, int]:
        return (self.bbox[0] + self.bbox[2]) // 2, (self.bbox[1] + self.bbox[3]) // 2


@dataclass(frozen=True)
class Screen:
    image: Image.Image
    buttons: tuple[Button, ...]


def block_html(block: Block) -> str:
    """
    >>> block_html(Block("p", (1, 2, 3, 4), "a b"))
    '<p data-bbox="1 2 3 4">a b</p>'
    """
    where = f'data-bbox="{" ".join(map(str, block.bbox))}"'
    if block.kind == "image":
        return f'<div class="image" {where}><img {where}/></div>'
    if block.kind == "table":
        rows = (row.split("\t") for row in block.text.split("\n"))
        cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table {where}>{cells}</table>"
    return f"<{block.kind} {where}>{block.text}</{block.kind}>"


def write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size_px: int) -> Line:
    """Writes one line."""
    font = ImageFont.load_default(size_px)
    pen.text(at, text, fill=(20, 20, 20), font=font)
    left, top, right, bottom = pen.textbbox(at, text, font=font)
    edges_x = tuple(at[0] + pen.textlength(text[:end], font=font) for end in range(len(text) + 1))
    return Line(text, (int(left), int(top), int(right) + 1, int(bottom) + 1), edges_x, at[1] + CAPITAL_MIDDLE * size_px)


def around(boxes: list[Box]) -> Box:
    """
    >>> around([(1, 2, 3, 4), (0, 3, 9, 4)])
    (0, 2, 9, 4)
    """
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def words(random: Random, count: int) -> list[str]:
    return [random.choice(WORDS) for _ in range(count)]


def wrapped(pen: ImageDraw.ImageDraw, text: list[str], size_px: int, width_px: int) -> list[str]:
    """Words as lines that fit the width."""
    font = ImageFont.load_default(size_px)
    lines: list[str] = []
    for word in text:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and pen.textlength(longer, font=font) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def scaled_page(seed: int, scale: float) -> Page:
    """A page that is so many times as large as PAGE_WH, print and all.

    >>> scaled_page(1, 1.5).image.size
    (588, 756)
    """
    return page(seed, (round(PAGE_WH[0] * scale), round(PAGE_WH[1] * scale)), round(PRINT_PX * scale))


def page(seed: int, wh: tuple[int, int] = PAGE_WH, size_px: int = PRINT_PX, paragraphs: int = 1) -> Page:
    """A title, paragraphs, a table of fields and values, and a figure where there is room.

    >>> [block.kind for block in page(1).blocks]
    ['h1', 'p', 'table', 'image']
    """
    random = Random(f"page {seed}")
    image = Image.new("RGB", wh, (255, 255, 255))
    pen = ImageDraw.Draw(image)
    margin, line_px = wh[0] // 14 - random.randint(0, wh[0] // 40), round(size_px * 1.35)
    y = margin
    blocks = []
    title = " ".join(words(random, 2)).capitalize()
    heading = write(pen, (margin, y), title, round(size_px * 1.5))
    blocks.append(Block("h1", heading.bbox, title, (heading,)))
    y += round(line_px * 2)
    for _ in range(paragraphs):
        written = wrapped(pen, words(random, random.randint(3, 8)), size_px, wh[0] - 2 * margin)
        lines = tuple(write(pen, (margin, y + i * line_px), text, size_px) for i, text in enumerate(written))
        blocks.append(Block("p", around([line.bbox for line in lines]), " ".join(written), lines))
        y += (len(lines) + 1) * line_px
    # One digit on each side: the tokenizer makes one token of two, which a model this small did not learn to read.
    values = {field: f"{random.randint(1, 9)}.{random.randint(0, 9)}" for field in random.sample(FIELDS, 3)}
    blocks.append(table(pen, (margin, y), values, size_px, wh[0] - 2 * margin))
    y = blocks[-1].bbox[3] + line_px
    if y + 2 * line_px < wh[1] - margin:
        blocks.append(figure(random, pen, (margin, y, wh[0] - margin, wh[1] - margin)))
    return Page(image, tuple(blocks), values)


def table(pen: ImageDraw.ImageDraw, at: tuple[int, int], values: dict[str, str], size_px: int, width_px: int) -> Block:
    """Two ruled columns, a row for each value."""
    x, y = at
    row_px = round(size_px * 1.6)
    bottom, right = y + row_px * len(values), x + width_px
    lines = []
    for i, row in enumerate(values.items()):
        for left, cell in zip((x, x + width_px // 2), row, strict=True):
            lines.append(write(pen, (left + 6, y + i * row_px + 2), cell, size_px))
    for i in range(len(values) + 1):
        pen.line((x, y + i * row_px, right, y + i * row_px), fill=(90, 90, 90))
    for line_x in (x, x + width_px // 2, right):
        pen.line((line_x, y, line_x, bottom), fill=(90, 90, 90))
    text = "\n".join(f"{field}\t{value}" for field, value in values.items())
    return Block("table", (x, y, right + 1, bottom + 1), text, tuple(lines))


def figure(random: Random, pen: ImageDraw.ImageDraw, room: Box) -> Block:
    """A framed bar chart in the room that is left."""
    x1, y1, x2, y2 = room
    pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=(60, 60, 60), fill=(238, 240, 245))
    step = (x2 - x1) // 6
    for i in range(5):
        height = round((y2 - y1) * random.uniform(0.2, 0.85))
        left = x1 + step // 2 + i * step
        pen.rectangle((left, y2 - 2 - height, left + step // 2, y2 - 2), fill=(70, 110, 180))
    return Block("image", room, "")


def screen(seed: int, wh: tuple[int, int] = (640, 400), buttons: int = 4) -> Screen:
    """An application's window with named buttons on a grid.

    >>> len({button.name for button in screen(1).buttons})
    4
    """
    random = Random(f"screen {seed}")
    image = Image.new("RGB", wh, (226, 230, 236))
    pen = ImageDraw.Draw(image)
    bar_px = wh[1] // 10
    pen.rectangle((0, 0, wh[0], bar_px), fill=(60, 72, 96))
    columns = 2 if wh[0] < wh[1] else 3
    rows = max(2, -(-buttons // columns))
    cell_w, cell_h = wh[0] // columns, (wh[1] - bar_px) // rows
    size_px = max(12, min(cell_h // 4, cell_w // 5))
    placed = []
    for cell, name in zip(random.sample(range(columns * rows), buttons), random.sample(BUTTONS, buttons), strict=True):
        font = ImageFont.load_default(size_px)
        width, height = round(pen.textlength(name, font=font)) + size_px, round(size_px * 1.8)
        x = cell % columns * cell_w + random.randint(2, max(2, cell_w - width - 2))
        y = bar_px + cell // columns * cell_h + random.randint(2, max(2, cell_h - height - 2))
        box = (x, y, x + width, y + height)
        pen.rounded_rectangle(
            (x, y, x + width - 1, y + height - 1), size_px // 3, fill=(250, 250, 250), outline=(90, 90, 90)
        )
        line = write(pen, (x + size_px // 2, y + round(size_px * 0.25)), name, size_px)
        placed.append(Button(name, box, line))
    return Screen(image, tuple(sorted(placed, key=lambda button: (button.bbox[1], button.bbox[0]))))
