"""
The load-tester's kit: many clients from few processes, and what they found.

Reading order for who writes a scenario:

    program.py      SCENARIOS, the common options, ``opened(options, NAME) -> Bench``
    crowd.py        ``Worker``: what one process does; ``Crowd.do``: orders for all
    client.py       ``Clients``: raw sockets and one selector; ``Client``, ``End``
    dialects/       what is said and heard: port.py is the contract, native.py ours
    target.py       whom to load, how to sign in; local.py starts servers for a run
    costs.py        processor time and memory of servers that run here
    histogram.py    latencies, mergeable over processes
    result.py       rows, series, JSON; plot.py draws them
    connect.py      the scenario to copy from

The floors that the project's own benchmarks compare with (bare C loops and so on) are
no part of this: they live in ``benchmarks/``.
"""
