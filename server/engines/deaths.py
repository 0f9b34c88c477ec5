"""Why an engine died, in words: from the end of its log and its exit status.

The patterns are what vLLM 0.32 and 0.33, torch and the loader of weights really write; `tests/engines/deaths` holds the
logs that they were read from. A cause that `lasts` will not go away by trying again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LOG_PREFIX = re.compile(r"^(\(\w+( pid=\d+)?\) )*((DEBUG|INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] )?")
EXCEPTION = re.compile(r"^(?:[\w.]*\.)?(\w*(?:Error|Exception|Interrupt)): (.+)")
SECOND_HAND = re.compile(
    r"Engine core initialization failed|EngineCore encountered an issue|WorkerProc failed to start"
)
"""The API process's echo of a failure that the engine's own process has told already."""


@dataclass(frozen=True)
class Cause:
    """A pattern in the log and what it means; {groups} of the pattern stand in the sentence."""

    pattern: str
    sentence: str
    lasts: bool = True


@dataclass(frozen=True)
class Death:
    reason: str
    lasts: bool


CAUSES = (
    Cause(
        r"unrecognized arguments: (?P<flag>.+)",
        "vLLM does not know the argument {flag}: check --engine-args against this version of vLLM",
    ),
    Cause(
        r"error: argument (?P<flag>-[^:]+): (?P<why>.+)",
        "vLLM refuses {flag}: {why}",
    ),
    Cause(
        r"No module named '(?P<module>vllm)(\.[\w.]+)?'",
        "vLLM is not installed beside --engine-python: run scripts/serve, which installs it, or name another",
    ),
    Cause(
        r"(?:ImportError|OSError|ModuleNotFoundError): (?P<why>.*(?:\.so\b|No module named|shared object).*)",
        "vLLM cannot be imported ({why}): delete .venv-engine and run scripts/serve again",
    ),
    Cause(
        r"Found no NVIDIA driver|NVIDIA driver on your system is too old|CUDA driver version is insufficient"
        r"|no CUDA-capable device|No CUDA GPUs are available",
        "the GPU cannot be used: its driver is missing, too old for this vLLM, or not visible here"
        " (nvidia-smi says more)",
    ),
    Cause(
        r"Failed to infer device type",
        "vLLM found no device it was built for: a CUDA build without a usable GPU; run scripts/serve for the CPU build",
    ),
    Cause(
        r"Repo id must be in the form .*: '(?P<model>[^']*)'",
        "the model {model} is neither a folder here nor a Hugging Face name: check --model",
    ),
    Cause(
        r"Cannot find an appropriate cached snapshot folder|outgoing traffic has been disabled",
        "the model is not in the local Hugging Face cache and downloading is switched off (HF_HUB_OFFLINE): "
        "unset it, or give --model a folder",
    ),
    Cause(
        r"RepositoryNotFoundError|GatedRepoError|401 Client Error|is not a valid model identifier",
        "Hugging Face gives no such model: check the name in --model, and HF_TOKEN if it is a gated one",
    ),
    Cause(
        r"Cannot find any model weights with `(?P<model>[^`]*)`",
        "the model folder {model} holds no weights: copy its *.safetensors files there",
    ),
    Cause(
        r"SafetensorError: (?P<why>.+)",
        "a weight file is damaged or cut off ({why}): copy or download it again",
    ),
    Cause(
        r"(?:Invalid repository ID or local directory specified|does not appear to have a file named config.json)"
        r"(?:: '(?P<model>[^']*)')?",
        "the model folder holds no model: it has no readable config.json; check --model",
    ),
    Cause(
        r"checkpoint you are trying to load has model type `(?P<type>[^`]*)` but Transformers does not recognize"
        r"|Model architectures? \[?(?P<architecture>[^\]]+)\]? (?:is|are) not supported",
        "this vLLM cannot run that kind of model (its config.json names {type}{architecture}): "
        "--model must be a Qwen2.5-VL",
    ),
    Cause(
        r"max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len .*?=(?P<most>\d+)",
        "--max-model-len is {asked}; this model can take {most}",
    ),
    Cause(
        r"max seq len \((?P<asked>\d+)\).*larger than the available KV.*maximum model length is (?P<most>\d+)",
        "the memory left for the KV cache does not hold one request of {asked} tokens (it holds {most}): "
        "lower it with --engine-args=--max-model-len={most}, or choose a smaller model",
    ),
    Cause(
        r"No available memory for the cache blocks|larger than the available KV cache memory",
        "the weights leave no memory for the KV cache: choose a smaller or quantised model, or raise "
        "--engine-args=--gpu-memory-utilization=0.95",
    ),
    Cause(
        r"Available memory on node \d+ \((?P<free>[\d./]+) GiB\).* is less than requested memory for kv"
        r" \((?P<asked>[\d.]+) GiB\)",
        "out of memory: the KV cache was to take {asked} GiB and {free} GiB (free/all) are there: close other programs "
        "or set VLLM_CPU_KVCACHE_SPACE to fewer GiB",
        lasts=False,
    ),
    Cause(
        r"Free memory on device .*?\((?P<free>[\d./]+) GiB\) on startup",
        "out of GPU memory: only {free} GiB (free/all) are free at start: another program uses the GPU (nvidia-smi "
        "lists it)",
        lasts=False,
    ),
    Cause(
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|cudaErrorMemoryAllocation",
        "out of GPU memory: lower --engine-args=--max-num-seqs or --image-max-pixels, or choose a smaller model",
        lasts=False,
    ),
    Cause(
        r"DefaultCPUAllocator: can't allocate memory|^MemoryError|Cannot allocate memory",
        "out of memory: choose a smaller model, or set VLLM_CPU_KVCACHE_SPACE to fewer GiB",
        lasts=False,
    ),
    Cause(
        r"No space left on device",
        "the disk or /dev/shm is full (in a container: raise its --shm-size)",
    ),
    Cause(
        r"Address already in use",
        "its socket or port is taken: another engine runs there, or --engine-args names a port in use",
        lasts=False,
    ),
    Cause(
        r"PermissionError: .*?(?P<why>Permission denied: .+)",
        "a file cannot be read or written: {why}",
    ),
    Cause(
        r"guard: cannot start (?P<command>.+?): (?P<why>.+)",
        "{command} cannot be started ({why}): run scripts/serve, which makes it, or check --engine-python",
    ),
)

LAST_CRY = re.compile(r"encountered a fatal error|EngineCore failed to start|WorkerProc hit an exception")
CORE_GONE = re.compile(r"engine core exited unexpectedly|EngineDeadError|Failed core proc\(s\): \{.*-9")
IF_NOBODY = "if nobody killed it, the system did because memory ran out: choose a smaller model"
SIGNALS = {
    4: "it ran an instruction that this CPU does not have (signal 4): this build of vLLM needs AVX2 or AVX-512",
    6: "it aborted (signal 6)",
    7: "it got a bus error (signal 7), mostly a full /dev/shm (in a container: raise its --shm-size)",
    9: f"it was killed (signal 9); {IF_NOBODY}",
    11: "it crashed (signal 11)",
    15: "it was told to stop (signal 15)",
}


def why(log: Sequence[str], status: int, *, while_serving: bool = False) -> Death:
    """The cause of death in one sentence; `status` as a shell counts it, 128 + signal where a signal ended it.

    An engine that served has logged its callers' mistakes too: there only what follows its own last cry counts.

    >>> why(["(EngineCore pid=7) ERROR 11-23 04:25:33 [core.py:1] Cannot find any model weights with `/m`"], 1)
    Death(reason='the model folder /m holds no weights: copy its *.safetensors files there', lasts=True)
    >>> why(["loading"], 137).lasts
    False
    """
    lines = [LOG_PREFIX.sub("", line) for line in log]
    cries = [at for at, line in enumerate(lines) if LAST_CRY.search(line)]
    if while_serving:
        lines = lines[cries[-1] :] if cries else [line for line in lines if CORE_GONE.search(line)]
    for cause in CAUSES:
        for line in lines:
            if found := re.search(cause.pattern, line):
                groups = {name: (text or "").strip() for name, text in found.groupdict().items()}
                return Death(cause.sentence.format(**groups), cause.lasts)
    if status > 128:
        return Death(SIGNALS.get(status - 128, f"it was ended by signal {status - 128}"), lasts=False)
    told = [f"{m[1]}: {m[2]}" for line in lines if (m := EXCEPTION.match(line)) and not SECOND_HAND.search(line)]
    if told:
        return Death(f"it failed with {told[-1]}", lasts=False)
    if any(CORE_GONE.search(line) for line in lines):
        return Death(f"its EngineCore process was gone all at once; {IF_NOBODY}", lasts=False)
    return Death(f"it ended with status {status}; its log above says more", lasts=False)
