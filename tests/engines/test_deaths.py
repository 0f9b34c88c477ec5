"""Each real log of a vLLM that could not start is told in words; `deaths/` holds their ends, from vLLM 0.32."""

from pathlib import Path

import pytest

from server.engines.deaths import why

LOGS = Path(__file__).with_name("deaths")
TOLD = {
    "another_kind_of_model": "its config.json names qwen9_vl",
    "bad_value": "vLLM refuses --max-model-len: invalid human_readable_int_or_auto value: 'many'",
    "cache_larger_than_memory": "out of memory: the KV cache was to take 100.0 GiB and 7.41/10.71 GiB",
    "cache_too_small": "does not hold one request of 32768 tokens (it holds 3968)",
    "context_too_long": "--max-model-len is 999999; this model can take 32768",
    "no_such_folder": "the model /no/such/folder is neither a folder here nor a Hugging Face name",
    "no_weights": "the model folder /models/noweights holds no weights",
    "not_a_model": "it has no readable config.json",
    "not_in_the_cache": "not in the local Hugging Face cache and downloading is switched off",
    "socket_taken": "its socket or port is taken",
    "unknown_flag": "vLLM does not know the argument --no-such-flag",
    "vllm_not_installed": "vLLM is not installed",
    "weights_cut_off": "a weight file is damaged or cut off (Error while deserializing header: incomplete metadata",
}
MAY_PASS = {"cache_larger_than_memory", "socket_taken"}


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.log")), ids=lambda log: log.stem)
def test_a_real_log_is_told_in_words(log: Path) -> None:
    death = why(log.read_text().splitlines(), 1)
    assert TOLD[log.stem] in death.reason
    assert death.lasts is (log.stem not in MAY_PASS)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has",
            "out of GPU memory: lower",
            id="cuda-out-of-memory",
        ),
        pytest.param(
            "ValueError: Free memory on device cuda:0 (3.1/22.05 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 19.84 GiB). Decrease GPU memory utilization or reduce GPU memory",
            "only 3.1/22.05 GiB (free/all) are free",
            id="gpu-in-use",
        ),
        pytest.param(
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            "the weights leave no memory for the KV cache",
            id="no-room-for-the-cache",
        ),
        pytest.param(
            "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
            "the GPU cannot be used",
            id="no-driver",
        ),
        pytest.param(
            "RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory",
            "out of memory: choose a smaller model",
            id="main-memory",
        ),
        pytest.param("OSError: [Errno 28] No space left on device", "/dev/shm is full", id="disk-full"),
        pytest.param(
            "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
            "vLLM cannot be imported (libcudart.so.13",
            id="library-missing",
        ),
    ],
)
def test_what_needs_a_gpu_or_a_full_disk_to_happen_is_read_from_its_wording(line: str, told: str) -> None:
    assert told in why([f"(EngineCore pid=7) ERROR 11-23 04:25:33 [core.py:1510] {line}", line], 1).reason


@pytest.mark.parametrize(
    ("status", "told"),
    [(137, "killed (signal 9)"), (139, "crashed (signal 11)"), (164, "signal 36"), (3, "status 3")],
)
def test_a_death_without_words_is_told_by_its_status(status: int, told: str) -> None:
    death = why(["INFO all was well"], status)
    assert told in death.reason
    assert not death.lasts


def test_the_root_cause_wins_over_the_api_process_echo_of_it() -> None:
    log = [
        "(EngineCore pid=7) KeyError: 'visual.blocks.0'",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    ]
    assert why(log, 1).reason == "it failed with KeyError: 'visual.blocks.0'"


SERVED = [
    "(APIServer pid=1) ERROR 11-23 05:29:56 [base.py:9] VLLMValidationError: Failed to transform regex into a grammar",
    "(APIServer pid=1) OSError: [Errno 28] No space left on device",
    "(APIServer pid=1) INFO 11-23 05:31:33 [a.py:8] [shutdown] MPClient: engine core exited unexpectedly",
    "(APIServer pid=1) ERROR 11-23 05:31:33 [async_llm.py:906] vllm.v1.engine.exceptions.EngineDeadError: EngineCore "
    "encountered an issue. See stack trace (above) for the root cause.",
]


def test_a_callers_mistake_before_is_not_why_an_engine_died() -> None:
    assert why(SERVED, 0, while_serving=True).reason.startswith("its EngineCore process was gone all at once")


def test_an_engine_that_failed_while_serving_says_with_what() -> None:
    cry = "(EngineCore pid=7) ERROR 11-23 05:31:33 [core.py:1] EngineCore encountered a fatal error."
    last = "(EngineCore pid=7) ERROR 11-23 05:31:33 [core.py:1] torch.OutOfMemoryError: CUDA out of memory. Tried"
    assert why([*SERVED[:2], cry, last, *SERVED[2:]], 0, while_serving=True).reason.startswith("out of GPU memory")
