"""An OpenAI-compatible server for Qwen2.5-VL: a fast gateway in front of vLLM."""

__version__ = "0.1.0"
