"""Works batches off: reads their input, asks each request, ends them. Several gateways may share the work."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from server.batches.batch import Batch, Claimed
from server.batches.files import Files
from server.batches.inner import Reply
from server.batches.ledger import LEASE_S, Ledger
from server.batches.lines import InputReader, LineError, answered, body_of, tokens, unanswered
from server.errors import GatewayError, NotFound

log = logging.getLogger(__name__)

Ask = Callable[[Batch, str, bytes], Awaitable[Reply]]
"""ask(batch, the request's id, its body) -> what the endpoint answers; raises GatewayError where it cannot be asked."""
POLL_S = 2.0
"""Between two looks for what other gateways, callers and the clock have done."""
KEEP_EVERY_S = LEASE_S / 3
SWEEP_EVERY_S = 3600
TRIES = 3
"""A request that ends in a failure of ours is asked so often; one that is turned away as often as it takes."""
BACKOFF_S = 2.0


class Worker:
    """One for each process."""

    def __init__(
        self,
        files: Files,
        ledger: Ledger,
        ask: Ask,
        *,
        parallel: int,
        most_requests: int,
        is_dead: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_dead` knows the names of workers that will not come back."""
        self._files = files
        self._ledger = ledger
        self._ask = ask
        self._parallel = parallel
        self._most_requests = most_requests
        self._is_dead: Callable[[str], bool] | None = is_dead
        self._running: dict[asyncio.Task[None], Claimed] = {}
        self._leased: set[str] = set()
        self._awake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; until the first call nothing is read or written."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._forever(self._look, POLL_S), name="batches"),
                asyncio.create_task(self._forever(self._keep, KEEP_EVERY_S), name="batches' leases"),
                asyncio.create_task(self._forever(self._files.forget_old, SWEEP_EVERY_S), name="batches' old files"),
            ]

    def wake(self) -> None:
        """There is something to do."""
        self._awake.set()

    async def close(self) -> None:
        """Stop; what was under way is put back."""
        tasks = [*self._tasks, *self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forever(self, work: Callable[[], Awaitable[object]], every_s: float) -> None:
        while True:
            try:
                await work()
            except GatewayError as exc:  # the database is away: it is asked again
                log.warning("batches: %s", exc.message)
            except Exception:
                log.exception("batches: a mistake; trying again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    if work == self._look:
                        await self._awake.wait()
                    else:
                        await asyncio.Event().wait()
            if work == self._look:
                self._awake.clear()

    async def _keep(self) -> None:
        await self._ledger.keep(list(self._running.values()), list(self._leased))

    # -- looking ------------------------------------------------------------------------------------------------------
    async def _look(self) -> None:
        if self._is_dead is not None:  # the first time
            await self._ledger.take_over(self._is_dead)
            self._is_dead = None
        batches = await self._ledger.open()
        asking = [batch for batch in batches if batch.status == "in_progress" and batch.expires_at > time.time()]
        self._stop_those_not_in({batch.id for batch in asking})
        for batch in batches:
            if batch not in asking:
                await self._alone(batch, self._read if batch.status == "validating" else self._end)
        for batch in asking:
            await self._claim(batch, len(asking))
            mine = any(claimed.batch.id == batch.id for claimed in self._running.values())
            if not mine and (await self._ledger.left(batch))[0] == 0:
                await self._alone(batch, self._end)

    async def _alone(self, batch: Batch, work: Callable[[Batch], Awaitable[None]]) -> None:
        """Do it unless another gateway does."""
        if not await self._ledger.lease(batch.id):
            return
        self._leased.add(batch.id)
        try:
            await work(batch)
        finally:
            self._leased.discard(batch.id)
            await self._ledger.release(batch.id)

    async def _claim(self, batch: Batch, batches: int) -> None:
        """Take this batch's part of the room that is left."""
        room = self._parallel - len(self._running)
        mine = sum(claimed.batch.id == batch.id for claimed in self._running.values())
        most = min(room, max(1, self._parallel // batches) - mine) if batches > 1 else room
        if most <= 0:
            return
        for claimed in await self._ledger.claim(batch, most):
            task = asyncio.create_task(self._work_on(claimed), name=claimed.id)
            self._running[task] = claimed
            task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        self.wake()

    def _stop_those_not_in(self, batches: set[str]) -> None:
        """Those that were cancelled or whose time is over."""
        for task, claimed in self._running.items():
            if claimed.batch.id not in batches:
                task.cancel()

    # -- one batch ----------------------------------------------------------------------------------------------------
    async def _read(self, batch: Batch) -> None:
        reader = InputReader(batch.endpoint, most=self._most_requests)
        try:
            await self._files.get(batch.owner, batch.input_file_id)
        except NotFound as exc:
            await self._ledger.fail(batch, [LineError("input_file_missing", exc.message, None, "input_file_id")])
            return
        async for chunk in self._files.chunks(batch.input_file_id):
            await asyncio.to_thread(reader.add, chunk)
            if reader.is_over:
                break
        reader.end()
        if reader.errors:
            await self._ledger.fail(batch, reader.errors)
        else:
            await self._ledger.begin(batch, reader.lines)
        self.wake()

    async def _end(self, batch: Batch) -> None:
        """Finish it, once nobody works on it any more."""
        unanswered_ones, running = await self._ledger.left(batch)
        if running:
            return
        ending = "expired" if unanswered_ones else "completed"
        await self._ledger.finish(batch, "cancelled" if batch.status == "cancelling" else ending)

    # -- one request --------------------------------------------------------------------------------------------------
    async def _work_on(self, claimed: Claimed) -> None:
        batch = claimed.batch
        try:
            line = await self._files.read(batch.input_file_id, claimed.first_byte, claimed.length)
            if len(line) < claimed.length:
                gone = unanswered(claimed.id, claimed.custom_id, "input_file_missing", "the input file was deleted")
                await self._ledger.answer(claimed, gone, is_ok=False)
                return
            reply = await self._ask(batch, claimed.id, body_of(line))
        except asyncio.CancelledError:
            with contextlib.suppress(GatewayError):
                await asyncio.shield(self._ledger.put_back(claimed, 0))
            raise
        except GatewayError as exc:
            refused = unanswered(claimed.id, claimed.custom_id, exc.code, exc.message)
            await self._ledger.answer(claimed, refused, is_ok=False)
            return
        if reply.retry_after_s is not None:
            await self._ledger.put_back(claimed, reply.retry_after_s)
        elif reply.status >= 500 and claimed.tries < TRIES:
            await self._ledger.put_back(claimed, BACKOFF_S**claimed.tries)
        else:
            answer_id = reply.headers.get("x-request-id", claimed.id)
            line = answered(claimed.id, claimed.custom_id, reply.status, answer_id, reply.body)
            is_ok = reply.status == 200
            await self._ledger.answer(claimed, line, is_ok=is_ok, tokens=tokens(reply.body) if is_ok else (0, 0))
