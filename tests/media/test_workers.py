"""Decode processes: what a bad job costs, how they end, and that nothing is left."""

import asyncio
import gc
import io
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.photos import jpeg, photo
from server.errors import MediaUnreadable
from server.media import KINDS, MediaLoader
from server.media.jobs import Part, scratch_file
from server.media.workers import Workers
from server.settings import Settings
from tests.conftest import until

PHOTO = jpeg(photo((700, 500)), 90)
LARGE = jpeg(photo((4000, 3000)), 90)


def children() -> set[int]:
    """Decode processes of this process that run."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if b"server.media.worker" in (entry / "cmdline").read_bytes():
                status = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(status[1]) == os.getpid() and status[0] != "Z":
                    found.add(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


async def only_child() -> int:
    await until(lambda: len(children()) == 1)
    return children().pop()


async def test_a_crash_costs_one_job_and_the_next_is_served(loader):
    await loader.start()
    child = await only_child()
    task = asyncio.create_task(loader.load_image_bytes(LARGE, param="image"))
    await asyncio.sleep(0)
    os.kill(child, signal.SIGSEGV)

    with pytest.raises(MediaUnreadable) as caught:
        await task
    assert caught.value.message == "image could not be decoded safely"
    assert (await loader.load_image_bytes(PHOTO, param="image")).shown_wh == (700, 504)
    assert children().isdisjoint({child})


async def test_an_idle_process_has_what_the_first_picture_needs(loader):
    await loader.start()
    loaded = Path(f"/proc/{await only_child()}/maps")
    await until(lambda: "_imaging" in loaded.read_text(), timeout_s=30)


async def test_a_process_that_died_while_idle_is_replaced_unseen(loader):
    await loader.start()
    child = await only_child()
    os.kill(child, signal.SIGKILL)
    await until(lambda: not children())

    assert (await loader.load_image_bytes(PHOTO, param="image")).shown_wh == (700, 504)


async def test_a_job_past_its_deadline_is_ended_and_the_next_is_served():
    loader = MediaLoader(Settings(media_workers=1, media_timeout_s=0.001))
    await loader.start()
    child = await only_child()

    with pytest.raises(MediaUnreadable) as caught:
        await loader.load_image_bytes(LARGE, param="image")

    assert caught.value.message == "image took longer to decode than 0.001 s"
    await until(lambda: child not in children() and len(children()) == 1)
    await loader.close()


async def test_a_picture_that_needs_more_memory_than_allowed_is_an_answer():
    large = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(large, "PNG", compress_level=1)
    loader = MediaLoader(Settings(media_workers=1, media_memory_bytes=320 << 20))
    try:
        with pytest.raises(MediaUnreadable) as caught:
            await loader.load_image_bytes(large.getvalue(), param="image")
        assert caught.value.message == "image needs more memory to decode than this server gives it"
        assert (await loader.load_image_bytes(PHOTO, param="image")).shown_wh == (700, 504)
    finally:
        await loader.close()


async def test_leaving_lets_a_short_job_end_and_keeps_its_process(loader):
    await loader.start()
    before = {await only_child()}
    task = asyncio.create_task(loader.load_image_bytes(PHOTO, param="image"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await loader.load_image_bytes(PHOTO, param="image")).shown_wh == (700, 504)
    assert children() == before


async def test_leaving_a_job_that_does_not_end_frees_its_place():
    workers = Workers(1, memory_bytes=2 << 30, timeout_s=30)
    workers.start()
    child = await only_child()
    os.kill(child, signal.SIGSTOP)  # a decoder that hangs
    options = {"param": "image", "noun": "image"}
    with scratch_file() as file:
        task = asyncio.create_task(workers.run("image", options, file, [Part("raw", 0)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await until(lambda: child not in children() and len(children()) == 1)
    await workers.close()


async def test_many_pictures_at_once_share_few_processes():
    loader = MediaLoader(Settings(media_workers=2))
    views = await asyncio.gather(*(loader.load_image_bytes(PHOTO, param=f"image[{i}]") for i in range(12)))

    assert len({view.digest for view in views}) == 1
    assert len(children()) <= 2
    await loader.close()


async def test_nothing_is_left_after_closing():
    gc.collect()
    files_before = len(os.listdir("/proc/self/fd"))
    loader = MediaLoader(Settings(media_workers=2))
    await loader.start()
    await loader.load_image_bytes(PHOTO, param="image")
    waiting = asyncio.create_task(loader.load_image_bytes(LARGE, param="image"))
    await asyncio.sleep(0)
    await loader.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert children() == set()
    assert len(os.listdir("/proc/self/fd")) == files_before


async def test_processes_hold_none_of_our_secrets_and_end_when_we_vanish(loader):
    await loader.start()
    child = await only_child()
    await loader.load_image_bytes(PHOTO, param="image")

    environment = Path(f"/proc/{child}/environ").read_bytes()
    assert {line.partition(b"=")[0] for line in environment.split(b"\0") if line} <= {
        b"PYTHONPATH",
        b"LANG",
        b"MALLOC_ARENA_MAX",
        b"MALLOC_MMAP_THRESHOLD_",
        b"MALLOC_TRIM_THRESHOLD_",
        b"MALLOC_TOP_PAD_",
    }


async def test_errors_of_the_decoder_arrive_as_they_were_raised(loader):
    with pytest.raises(MediaUnreadable) as caught:
        await loader.load_image_bytes(PHOTO[:2000], param="messages[0].content[1]")

    assert caught.value.param == "messages[0].content[1]"
    assert caught.value.message.startswith("messages[0].content[1] is broken: image file is truncated")
    assert caught.value.status == 400


def test_every_kind_is_a_module_with_a_decoder():
    from server.media.worker import decoder

    assert all(callable(decoder(kind)) for kind in KINDS)
