"""QwenVL HTML as it comes: every block that can be read is read, and what is written out is sound and harmless."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.geometry import Box
from server.tasks.page_html import block_html, page_html
from server.tasks.page_markdown import block_markdown
from server.tasks.reading_html import read_page
from tests.tasks.growth import in_proportion

TITLE, TEXT = ("title", "A", Box(1, 2, 3, 4)), ("paragraph", "b", Box(5, 6, 7, 8))
H1, P = '<h1 data-bbox="1 2 3 4">A</h1>', '<p data-bbox="5 6 7 8">b</p>'


def read(answer):
    blocks, _ = read_page(answer)
    return [(block.type, block.text, block.box) for block in blocks]


def markdown(answer):
    return "\n\n".join(filter(None, map(block_markdown, read_page(answer)[0])))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(f"```html\n<html><body>\n{H1} \n {P}\n</body></html>\n```", id="as Qwen writes it"),
        pytest.param(f"<html><body>{H1}{P}</body></html>", id="no fence"),
        pytest.param(f"Here is the page:\n```html\n{H1}{P}\n```\nIt is short.", id="prose around the fence"),
        pytest.param(f"Here it is: {H1}{P}</html> Done.", id="prose around, no fence"),
        pytest.param(f"```html\n<html><body>\n{H1}{P}", id="no end"),
        pytest.param(f"{H1}<p data-bbox=\"5 6 7 8\">b", id="no closer"),
        pytest.param(f"{H1}{P}<p data-bbox=\"9 9", id="a tag cut off"),
        pytest.param(f"{H1}{P}</", id="a closer cut off"),
        pytest.param('<h1 data-bbox="1 2 3 4">A<p data-bbox="5 6 7 8">b', id="neither closed"),
        pytest.param('<H1 DATA-BBOX="1 2 3 4">A</H1><P DATA-BBOX="5 6 7 8">b</P>', id="capitals"),
        pytest.param("<h1 data-bbox='1 2 3 4'>A</h1><p data-bbox=\"5,6,7,8\">b</p>", id="quotes and commas"),
        pytest.param('<h1 data-bbox="[1, 2, 3, 4]">A</h2><p data-bbox="(5 6 7 8)">b</div>', id="brackets"),
        pytest.param(f"<div><div>{H1}</div><section>{P}</section></div>", id="wrapped"),
        pytest.param(f"<!-- page -->{H1}<style>p {{}}</style>{P}<script>x</script>", id="comment, style, script"),
    ],
)  # fmt: skip
def test_both_blocks_are_read(answer):
    assert read(answer) == [TITLE, TEXT]


def test_a_lost_closer_does_not_swallow_the_blocks_behind_it():
    answer = f'<div class="image" data-bbox="10 11 12 13"><img data-bbox="10 11 12 13"/>{H1}{P}'
    assert read(answer) == [("figure", "", Box(10, 11, 12, 13)), TITLE, TEXT]


@pytest.mark.parametrize(
    ("markup", "kind", "text"),
    [
        ('<div class="formula" data-bbox="1 2 3 4"><img/><div>$$a<b$$</div></div>', "formula", "$$a<b$$"),
        ('<div class="image caption" data-bbox="1 2 3 4"><img/><p>A mill.</p></div>', "figure", "A mill."),
        ('<div class="chart" data-bbox="1 2 3 4"><img alt="Sales"/></div>', "chart", "Sales"),
        ('<div class="music sheet" data-bbox="1 2 3 4"></div>', "music_sheet", ""),
        ('<address class="author"><p>Qwen Team</p></address>', "address", "Qwen Team"),
        ('<ol><li data-bbox="1 2 3 4">x</li><li data-bbox="1 5 3 9">y</li></ol>', "list", "x\ny"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>", "table", "a | b\n1 | 2"),
        ("<p>one<br>two</p>", "paragraph", "one\ntwo"),
        ("<p>$x<y$ and a < b & c</p>", "paragraph", "$x<y$ and a < b & c"),
        ("<pre>a\n  b</pre>", "code", "a\n  b"),
    ],
)  # fmt: skip
def test_a_block_of_any_kind(markup, kind, text):
    assert [(each[0], each[1]) for each in read(markup)] == [(kind, text)]


def test_a_list_has_the_box_around_its_items():
    assert read('<ol><li data-bbox="1 2 3 4">x</li><li data-bbox="1 5 6 9">y</li></ol>')[0][2] == Box(1, 2, 6, 9)


def test_a_block_with_a_broken_box_is_kept_and_the_box_reported():
    blocks, notices = read_page('<p data-bbox="1 2 3">a</p>')
    assert [(block.text, block.box) for block in blocks] == [("a", None)]
    assert "box_numbers" in [notice.code for notice in notices]


@pytest.mark.parametrize("answer", ["", "I cannot read this.", "a < b > c", "```\n```", "<unknown>x</unknown>"])
def test_an_answer_without_markup_is_no_empty_page(answer):
    assert read_page(answer)[0] is None


def test_a_page_with_markup_and_nothing_on_it_is_an_empty_page():
    assert read_page("```html\n<html><body>\n</body></html>\n```")[0] == []


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<h2>A</h2>", "## A"),
        ('<p>a <b>b</b> <i>c</i> <a href="https://x.org/a b">d</a></p>', "a **b** *c* [d](https://x.org/a%20b)"),
        ('<p><a href="javascript:alert(1)">d</a></p>', "d"),
        ("<ul><li>a<ol><li>b</li></ol></li><li>c</li></ul>", "- a\n  1. b\n- c"),
        ("<table><tr><td>a|b</td></tr><tr><td>1</td><td>2</td></tr></table>", "| a\\|b |  |\n| --- | --- |\n| 1 | 2 |"),
        ('<table><tr><td colspan="2">a</td></tr></table>', '<table><tr><td colspan="2">a</td></tr></table>'),
        ("<div class='formula'><div>E=mc^2</div></div>", "$$\nE=mc^2\n$$"),
        ("<div class='image'><img/></div>", ""),
        ("<p># no heading</p>", "\\# no heading"),
        ("<p>&lt;script&gt;</p>", "&lt;script>"),
    ],
)
def test_markdown(markup, expected):
    assert markdown(markup) == expected


def test_what_is_written_is_read_again_as_it_was():
    blocks, _ = read_page(f'{H1}{P}<ul><li>a</li></ul><table><tr><td rowspan="2">1</td><td>2</td></tr></table>')
    written = page_html(
        block_html(block, lambda box: f"{box.x1:.0f} {box.y1:.0f} {box.x2:.0f} {box.y2:.0f}") for block in blocks
    )
    again, notices = read_page(written)
    assert notices == []
    assert [(b.type, b.text, b.box) for b in again] == [(b.type, b.text, b.box) for b in blocks]


@pytest.mark.parametrize(
    "markup",
    [
        '<p onclick="x()">a</p>',
        "<p>a<script>x()</script></p>",
        '<p><img src="https://evil.example/x" onerror="x()">a</p>',
        '<p><a href="javascript:x()">a</a></p>',
        '<p style="background:url(x)">a</p>',
        '<p><iframe src="x"></iframe>a</p>',
        '<p class="&quot; onclick=&quot;x()">a</p>',
        "<p>&lt;script&gt;x()&lt;/script&gt;a</p>",
    ],
)
def test_nothing_written_can_run_or_load(markup):
    written = "".join(block_html(block, lambda box: None) for block in read_page(markup)[0])
    for forbidden in ("<script", "<iframe", " onclick=\"x", "onerror=", "javascript:", "style=", "src="):  # fmt: skip
        assert forbidden not in written.replace("&quot; onclick=&quot;", "")
    assert "a" in written


PIECES = [
    *(
        "<p>",
        "</p>",
        '<p data-bbox="1 2 3 4">',
        "<div>",
        "</div>",
        '<div class="image" data-bbox="5 6 7 8">',
        "<table>",
    ),
    *("<tr>", "<td>", "<li>", "<ul>", "<h1>", "<b>", "<br>", "```", "\n", "</html>", "&lt;", "<", ">", "&", "text"),
    *("<!--", "-->", '"', "<script>", "<img>"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=40).map("".join))
def test_no_text_makes_the_reader_or_the_writers_raise(answer):
    blocks, _ = read_page(answer)
    for block in blocks or []:
        assert isinstance(block_html(block, lambda box: None) + block_markdown(block), str)


@pytest.mark.parametrize(
    ("first", "unit"),
    [
        *[
            ("<p>", unit)
            for unit in ("<div>", "<b>", "<p>", "<", "&", "</p>", "<li><ul>", "\n```", "<br>", " \n", "<!--")
        ],
        ("<table>", "<tr><td>a"),
        ("<p>", '<p data-bbox="1 2 3 4">x'),
        ("<p>", '<p data-bbox="1 2 3 4"><div data-bbox="5 6 7 8">x'),
        ('<div data-bbox="1 2 3 4">', '<p data-bbox="5 6 7 8">x</p>'),
        ('<div data-bbox="1 2 3 4">', "<p>a</p>b"),
    ],
)
def test_markup_is_read_and_written_in_proportion_to_its_length(first, unit):
    def work(size):
        blocks, _ = read_page(first + unit * (size // len(unit)))
        for block in blocks or []:
            block_html(block, lambda box: None)
            block_markdown(block)

    assert in_proportion(work)
