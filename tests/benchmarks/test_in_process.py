"""The benchmark without sockets runs the whole gateway, and finds out if an answer is not one."""

from benchmarks.overhead.in_process import Loop, measured, running


def test_every_figure_is_measured() -> None:
    loop = Loop()
    with running(loop) as bench:
        assert loop.run_until_complete(bench.json(8)) > 0
        assert min(loop.run_until_complete(bench.stream(1, 2))) > 0
        assert measured(loop, bench, 0) == {}
