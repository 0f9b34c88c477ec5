"""Several processes answer on one port (`--workers`), and are one server to whoever asks.

    parent      starts and watches the engine, listens, decides who may come in, keeps the workers alive
    worker ...  a gateway each: everything else

The first process is the parent (`parent`). It starts each worker (`process`) as `python -m server worker`, a program of
its own and not a fork, hands it connections (`reception`, `entrance`), and speaks with it over a pair of sockets
(`line`). With one worker none of this is there: the process serves alone.

What a process keeps, and what becomes of it where there are several:

| what | where | over all workers |
| --- | --- | --- |
| places, queue, turns, bytes of bodies | parent (`desk`, `shared`) | exact |
| requests of a key at once | parent, who asks Redis too where it is set: then over several gateways | exact |
| requests and tokens a minute | parent, or Redis where it is set: then over several gateways | exact |
| `Idempotency-Key` | the worker that was asked first; the parent knows which | holds, while that worker lives |
| counters, histograms, usage, recent errors | each; the asked one puts all together (`merging`, `parts`) | added up |
| gauges | places: parent; engines: each worker | see `merging.GAUGES` |
| engines: health, breakers | each judges for itself | shown is the worst view; a drain holds for all, new ones too |
| engines: what each carries | each; of the others by the engine's own figures | choice as with several gateways |
| engines: which has a picture in its caches | each | rendezvous hashing, as with several gateways |
| `engine_connections` | split evenly | holds; a worker may refuse when others have room |
| `media_workers` | split evenly, one at least | holds, or one a worker |
| files and batches | database; the first worker works them off, others wake it | `batch_parallel` holds |
| keys file | each reads it again within a second | |
| leaving | the parent is told, and tells all | readiness is off on all |
| `/healthz`, `/readyz` | of the worker that was asked | with its own view of the engines |
| access log, traces | each writes and sends its own | lines of one write stay together |

What is approximate: a chat request of few bytes reads its body before it is known whether it may be there (`shared`); a
worker that is killed takes along what it counted since its last report, two seconds at most, and its idempotent
answers; `qvl_engine_ejections` counts an engine once for each worker that saw it go.

What it costs, measured before a mock engine on a core shared with others: the parent 40 us of CPU a request and 0.1 ms
a connection, a worker 60 us a request more than the 130 us of one that is alone. So two workers give less than twice of
one where answers are short; it pays where streams or pictures are many.
"""
