"""The recorded answers in `../shared/recorded`, and what a person reads from each.

Where the answer is sound JSON the reading is taken from it by `json` after cutting the fence by hand, which shares no
code with ours; everything else is written down here. Used by `test_recorded.py` and by `benchmarks/readers.py`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "recorded"

SOUND_SPOTS = (
    "01_spatial_detect_cakes", "02_spatial_ground_brown_cake", "04_spatial_brave_person", "05_spatial_sunglasses",
    "11_ocr_v2_cell13_text_spotting", "32_ocr_v1_cell12_text_spotting", "38_blog_grounding_box_safety",
    "41_blog_grounding_counting_items", "43_blog_grounding_brave", "44_blog_ocr_grounding1",
    "77_modelstudio_boxes_key_bbox", "80_detect_3b_person_dog",
)  # fmt: skip
SOUND_EVENTS = ("28_video_events_json", "29_video_events_json_api", "67_blog_video_structured_caption")
PAGES = ("16_docparse_qwenvl_html_truncated", "17_docparse_qwenvl_html_api", "58_blog_docparsing1",
         "59_blog_docparsing2", "61_blog_docparsing6")  # fmt: skip
PROSE = (
    "23_video_ocr_table_zh", "25_video_long_caption", "34_recognition_cell7", "35_recognition_cell9",
    "37_recognition_cell13", "50_blog_kie_express", "52_blog_kie_table1", "53_blog_kie_table1_turn2",
    "55_blog_kie_table2_turn2", "56_blog_kie_table3", "64_blog_video_reasoning_zh", "65_blog_video_long_caption",
    "68_blog_recoAll_attractions", "70_blog_recoAll_cars", "71_blog_recoAll_foods", "73_blog_recoAll_celebrities",
    "74_blog32b_reasoning", "79_caption_3b_person_dog", "issues_02_addcriterion_chatter",
)  # fmt: skip
PLAIN_TEXT = ("10_ocr_v2_cell10_ocr", "14_ocr_v3_cell7_ocr", "31_ocr_v1_cell9_ocr", "46_blog_ocr_dense",
              "47_blog_ocr_korean", "49_blog_ocr_vertical")  # fmt: skip
LOOPS = (
    "issues_07_latin_loop",
    "issues_08_ascii_diagram_loop",
    "issues_10_time_ranges_loop",
    "issues_11_exclamation_marks",
)

BIRDS = [[38, 314], [126, 309], [195, 277], [243, 291], [285, 291], [345, 291], [400, 284], [465, 298], [525, 314],
         [644, 314], [695, 314], [762, 304], [834, 264], [248, 638]]  # fmt: skip
SPOTS: dict[str, list[tuple[list[float], str | None]]] = {
    "07_spatial_plaintext_cakes": [([43, 378, 996, 957], "cakes")],
    "40_blog_grounding_counting_birds": [(point, "birds") for point in BIRDS],
    "issues_17_midscene_plain": [([513, 127, 1068, 194], "input box for adding a new todo")],
    "issues_22_midscene_twozh": [([563, 749], "Gender 下拉框")],
    "issues_25_midscene_twozh": [([563, 748], "Gender 下拉框")],
    "issues_26_midscene_two": [([563, 748], "Gender dropdown")],
    "issues_28_midscene_errmove": [([574, 269, 693, 298], "second item in the task list")],
}
EVENTS: dict[str, list[tuple[float, float]]] = {
    "26_video_temporal_grounding_seconds": [(64, 72)],
    "issues_10_time_ranges_loop": [(0, 5), (6, 10), (11, 15), (16, 20), (21, 25)],
}
ACTIONS: dict[str, tuple[str, dict[str, Any]] | None] = {
    "19_mobile_use_v1_cell7": ("click", {"coordinate": [935, 406]}),
    "20_mobile_use_v1_cell9": ("click", {"coordinate": [645, 1093]}),
    "22_computer_use_third_issue": ("left_click", {"coordinate": [1294, 811]}),
    "issues_01_toolcall_wrong_closer_alembic": ("click", {"coordinate": [428, 2178]}),
    "issues_14_midscene_kp": ("keyboardpress", {"text": "Enter"}),
    "issues_16_midscene_errfalsy": ("expectedfalsycondition", {}),
    "issues_17_midscene_plain": ("input", {"coordinate": [790.5, 160.5], "text": "hello"}),
    "issues_19_midscene_null": None,
    "issues_20_midscene_errkp": ("keyboardpress", {"text": "Enter"}),
    "issues_22_midscene_twozh": ("tap", {"coordinate": [563, 749]}),
    "issues_23_midscene_err": ("scroll", {}),
    "issues_25_midscene_twozh": ("tap", {"coordinate": [563, 748]}),
    "issues_26_midscene_two": ("tap", {"coordinate": [563, 748]}),
    "issues_28_midscene_errmove": ("hover", {"coordinate": [633.5, 283.5]}),
}
LISTS = {
    "issues_04_unquoted_list_python_fence": ["A", "B"],
    "issues_05_typescript_fence_single_quotes": ["B", "B", "C", "A"],
}
RECORDS = ("13_ocr_v2_cell17_key_information_extraction", "76_scene_complexity_json")
OTHERS = ("08_ocr_v2_cell7_ocr", "62_blog_docparsing8", "issues_13_lazy_image_markdown")
"""Each with a test of its own."""


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded answer."""

    name: str
    answer: str
    image_wh: tuple[int, int] | None
    shown_wh: tuple[int, int] | None


def record(name: str) -> Record:
    """Raises FileNotFoundError where the folder is not there."""
    entry = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    sizes = (tuple(entry[key]) if entry.get(key) else None for key in ("image_size", "resized_size"))
    return Record(name, entry["raw_output"], *sizes)


def sound_json(answer: str) -> Any:
    """The JSON in an answer that has sound JSON, commas at a list's end aside."""
    fenced = re.search(r"```json\s*\n(.*?)\n```", answer, re.DOTALL)
    text = fenced[1] if fenced else answer
    return json.loads(re.sub(r",\s*([\]}])", r"\1", text))


def spots(name: str) -> list[tuple[list[float], str | None]]:
    """(numbers, label) of every place that a person reads in a record, in pixels of the picture shown."""
    if name in SPOTS:
        return SPOTS[name]
    return [
        (
            each.get("bbox_2d") or each["bbox"],
            (each.get("label") or each.get("text_content") or each["description"]).strip(),
        )
        for each in sound_json(record(name).answer)
    ]


def events(name: str) -> list[tuple[float, float]]:
    """(start, end) in seconds of every event that a person reads in a record."""
    if name in EVENTS:
        return EVENTS[name]
    return [(_seconds(each["start_time"]), _seconds(each["end_time"])) for each in sound_json(record(name).answer)]


def _seconds(clock: str) -> float:
    minutes, seconds = clock.split(":")
    return round(int(minutes) * 60 + float(seconds), 3)
