"""Results as typed objects: they keep what the server sent, draw themselves, and turn into other forms."""

from qwenvl.results.base import CoordinateSpace, Extent, Notice, Result, Usage
from qwenvl.results.detection import Detection, FoundObject, coco_dataset
from qwenvl.results.document import Block, Document, Page
from qwenvl.results.events import Event, EventList
from qwenvl.results.words import Action, Caption, Evidence, Extraction, ReadText, TextLine

__all__ = [
    "Action",
    "Block",
    "Caption",
    "CoordinateSpace",
    "Detection",
    "Document",
    "Event",
    "EventList",
    "Evidence",
    "Extent",
    "Extraction",
    "FoundObject",
    "Notice",
    "Page",
    "ReadText",
    "Result",
    "TextLine",
    "Usage",
    "coco_dataset",
]
