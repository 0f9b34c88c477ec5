"""Memory and open files of a gateway under steady load: `python -m benchmarks.soak`."""
