"""docling's VLM pipeline with this server as its model: a PDF as a DoclingDocument.

    pip install docling-slim[convert-core,format-pdf-pypdfium2,format-markdown]==2.143.0 torch==2.13.0
    python docling_vlm.py bill.pdf

Each page goes to chat with the prompt below. For blocks with their places, tables over several pages and a page that
failed told apart from the others use `Client().parse_document(...).to_docling()`.
"""

import os
import sys
from typing import Any

from docling.backend.pypdfium2_backend import PyPdfiumDocumentBackend
from docling.datamodel.base_models import InputFormat
from docling.datamodel.pipeline_options import VlmPipelineOptions
from docling.datamodel.pipeline_options_vlm_model import ApiVlmOptions, ResponseFormat
from docling.document_converter import DocumentConverter, PdfFormatOption
from docling.pipeline.vlm_pipeline import VlmPipeline

URL = os.environ.get("QWENVL_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("QWENVL_API_KEY", "none")
PROMPT = "Convert this page to Markdown. Do not miss any text and only output the bare Markdown."


def main(path: str, most_tokens: int = 4096) -> dict[str, Any]:
    """The document, as Markdown."""
    options = ApiVlmOptions(
        url=f"{URL}/v1/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        params={"model": "qwen2.5-vl", "max_tokens": most_tokens},
        prompt=PROMPT,
        timeout=600,
        concurrency=4,  # pages at once; the server takes them together
        scale=2.0,  # 144 dots an inch
        temperature=0,
        response_format=ResponseFormat.MARKDOWN,
    )
    pdf = PdfFormatOption(
        pipeline_cls=VlmPipeline,
        backend=PyPdfiumDocumentBackend,
        pipeline_options=VlmPipelineOptions(enable_remote_services=True, vlm_options=options),
    )
    document = DocumentConverter(format_options={InputFormat.PDF: pdf}).convert(path).document
    return {"pages": len(document.pages), "markdown": document.export_to_markdown()}


if __name__ == "__main__":
    for name, answer in main(sys.argv[1], *map(int, sys.argv[2:])).items():
        print(f"{name}: {answer}")
