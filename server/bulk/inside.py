"""vLLM in this process: for rows by the thousand, where nobody waits for one and nothing is gained by HTTP in between.

It is started with the flags that the server's own engine gets (`server.engines.profiles`), renders a chat request with
vLLM's own code, and steps in a thread of its own: what it answers is what the same engine answers over HTTP. Here alone
vLLM is imported, in an environment that holds it beside the gateway's packages (`scripts/bulk`).
"""

import asyncio
import itertools
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from server.answering.asker import Asking, Piece, fitting
from server.engines.checkpoints import fitted
from server.engines.hardware import detect_gpus
from server.engines.profiles import profile
from server.engines.work import Work
from server.errors import InvalidValue, ModelNotFound
from server.settings import Settings
from server.tasks.confidence import Token
from server.tasks.task import Ask, TaskRequest

ROWS_AT_ONCE = 256
"""Requests that one engine steps together on a CPU: with 64 each costs a tenth more, with 400 no less."""
FEW = 8
"""What a model that is not tiny is stepped with on a CPU stays."""
TOKENS_A_PIECE = 32
"""An answer comes in pieces so long: often enough to see that it goes round, and a 32nd of the work of each token."""
LEAST_LOGPROB = -9999.0
"""As OpenAI's form has it, which knows no infinity."""


class EngineDied(RuntimeError):
    """vLLM failed, and with it all that it was asked: no row's fault."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What vLLM is started with."""

    args: list[str]
    env: dict[str, str]
    names: list[str]
    settings: Settings
    """With the pixel limits that the model keeps."""


def launch(model: str, settings: Settings, threads: int) -> Launch:
    """The server's own flags and variables for the model here, but those that one caller fewer, and more rows, change.

    `threads` is what an engine on a CPU may use.
    """
    gpus = detect_gpus()
    settings = fitted(settings, model)
    chosen = profile(model, gpus, settings)
    args, env = ["--disable-log-stats", *chosen.args[2:]], dict(chosen.env)  # behind `-m ...api_server`
    if not gpus:
        env["OMP_NUM_THREADS"] = str(threads)
        args[args.index("--mm-processor-cache-gb") + 1] = "0"  # no picture comes twice
        rows = args.index("--max-num-seqs") + 1
        if int(args[rows]) > FEW:
            args[rows] = str(ROWS_AT_ONCE)
    return Launch(args, {**env, "VLLM_LOGGING_LEVEL": "WARNING"}, chosen.served_names, settings)


class InsideEngine:
    """One vLLM, stepped by a thread."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._loop = asyncio.get_running_loop()
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._answers: dict[str, asyncio.Queue[Any]] = {}
        self._numbers = itertools.count()
        self._engine: Any = None
        self._longest = 0
        self._renderer = ThreadPoolExecutor(1, "render")
        self._thread = threading.Thread(target=self._run, name="vllm", daemon=True)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._died: EngineDied | None = None

    async def start(self) -> None:
        """Load the model. Raises EngineDied."""
        self._thread.start()
        await self._ready

    async def close(self) -> None:
        """Let go of the model."""
        self._orders.put(None)
        await asyncio.to_thread(self._thread.join)
        self._renderer.shutdown()

    # -- who is here --------------------------------------------------------------------------------------------------
    def models(self) -> list[dict[str, Any]]:
        """See `asker.Models`."""
        return [{"id": name, "max_model_len": self._longest} for name in self._launch.names]

    def resolve(self, name: str) -> str:
        """See `asker.Models`."""
        if name in self._launch.names:
            return name
        raise ModelNotFound(
            f"the model {name!r} is not served; there is {', '.join(self._launch.names)}", param="model"
        )

    # -- asking -------------------------------------------------------------------------------------------------------
    async def pieces(self, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        """The answer to a chat request. Closing the iterator aborts it. Raises InvalidValue, EngineDied."""
        prompt, params = await self._loop.run_in_executor(self._renderer, self._rendered, body)
        name, answers = str(next(self._numbers)), asyncio.Queue[Any]()
        self._answers[name] = answers
        if self._died:
            raise self._died
        self._orders.put(lambda: self._add(name, prompt, params))
        spent, is_over = 0, False
        try:
            while not is_over:
                output = await answers.get()
                if isinstance(output, Exception):
                    raise output
                is_over = output.finished
                spent += len(output.outputs[0].token_ids)
                yield _piece(output, spent)
        finally:
            self._answers.pop(name, None)
            if not is_over:
                self._orders.put(lambda: self._engine.abort_request([name]))

    def _rendered(self, body: dict[str, Any]) -> tuple[Any, Any]:
        """Prompt and sampling as vLLM's own server makes them of a chat request."""
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

        try:
            request = ChatCompletionRequest.model_validate(body)
            config = self._engine.model_config
            chat, tokens = request.build_chat_params(None, "auto"), request.build_tok_params(config)
            _, (prompt,) = self._engine.renderer.render_chat([request.messages], chat, tokens)
            room = self._longest - len(prompt["prompt_token_ids"])
            params = request.to_sampling_params(min(request.max_tokens or room, room), config.get_diff_sampling_param())
        except ValueError as exc:
            raise InvalidValue(str(exc)) from exc
        params.stream_interval = TOKENS_A_PIECE
        return prompt, params

    # -- the thread ---------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            self._load()
            self._loop.call_soon_threadsafe(self._ready.set_result, None)
            self._step_on()
        except Exception as exc:
            self._died = EngineDied(f"vLLM failed: {type(exc).__name__}: {exc}")
            self._died.__cause__ = exc
            self._loop.call_soon_threadsafe(self._tell_death)

    def _load(self) -> None:
        os.environ.update(self._launch.env)  # which vLLM reads when it is imported
        from vllm.engine.arg_utils import EngineArgs
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
        from vllm.utils.argparse_utils import FlexibleArgumentParser
        from vllm.v1.engine.llm_engine import LLMEngine

        parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(self._launch.args)
        self._engine = LLMEngine.from_engine_args(EngineArgs.from_cli_args(parsed))
        self._longest = int(self._engine.model_config.max_model_len)

    def _step_on(self) -> None:
        while True:
            is_idle = not self._engine.has_unfinished_requests()
            while is_idle or not self._orders.empty():
                order = self._orders.get()
                if order is None:
                    return
                order()
                is_idle = False
            if outputs := self._engine.step():
                self._loop.call_soon_threadsafe(self._deliver, outputs)

    def _add(self, name: str, prompt: Any, params: Any) -> None:
        try:
            self._engine.add_request(name, prompt, params)
        except ValueError as exc:
            self._loop.call_soon_threadsafe(self._refuse, name, InvalidValue(str(exc)))

    # -- back in the loop ---------------------------------------------------------------------------------------------
    def _deliver(self, outputs: Sequence[Any]) -> None:
        for output in outputs:
            if answers := self._answers.get(output.request_id):
                answers.put_nowait(output)

    def _refuse(self, name: str, failure: Exception) -> None:
        if answers := self._answers.get(name):
            answers.put_nowait(failure)

    def _tell_death(self) -> None:
        assert self._died is not None
        if not self._ready.done():
            self._ready.set_exception(self._died)
        for name in list(self._answers):
            self._refuse(name, self._died)


class InsideAsker(Asking):
    """Asks an engine in this process on behalf of one row."""

    def __init__(self, engine: InsideEngine, settings: Settings) -> None:
        super().__init__(engine, settings)
        self._engine = engine

    def pieces(
        self, ask: Ask, request: TaskRequest, model: str, *, work: Work, temperature: float | None = None
    ) -> AsyncGenerator[Piece, None]:
        """See `runs.Asks`."""
        return self._engine.pieces(self.body(ask, request, model, work.visual_tokens, temperature))


def _piece(output: Any, spent: int) -> Piece:
    said = output.outputs[0]
    piece = Piece(said.text, _tokens(said), said.finish_reason)
    if output.finished:
        shown = len(output.prompt_token_ids)
        piece.usage = {"prompt_tokens": shown, "completion_tokens": spent, "total_tokens": shown + spent}
    return piece


def _tokens(said: Any) -> list[Token]:
    if not said.logprobs:
        return []
    found = [known[token] for token, known in zip(said.token_ids, said.logprobs, strict=True)]
    tokens = [Token(each.decoded_token or "", max(each.logprob, LEAST_LOGPROB)) for each in found]
    if said.finish_reason == "stop" and "".join(token.text for token in tokens) != said.text:
        tokens.pop()  # the end's own token, which is no part of the text
    return fitting(said.text, tokens)
