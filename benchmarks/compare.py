"""
Question: what do other push servers need for the same work, on this machine?

Method: that of ``realtime bench compare``, of which this is the program; --help tells
everything.

Finding (2026-11-23, two cores shared with much else, 1,000 subscribers; processor time
and memory only, for there was no core left for latencies). In runs of three and of five
turns, a delivered frame costs Centrifugo 2.1 to 2.4 times ours (2.5 to 2.8 with Redis),
picows 1.1 to 1.2, websockets and Socket.IO 2.0 to 2.1 times. In a single turn with few
publications: python-socketio 9 to 10, Channels 18 (pub/sub layer) to 28 (Daphne). An
idle connection takes 2.9 KiB of ours, 45 to 54 of Centrifugo's, 30 of picows', 14 of
websockets'. To come in, a client costs Centrifugo 0.7 to 0.9 of ours, and picows, which
checks nothing, 0.4: this is where we are behind. Of the samples of our process that
lets clients in, 29 % are writes to sockets (the kernel's), 7 % the check of the token,
5 % the line in the log, which Centrifugo is told not to write.

    python benchmarks/compare.py --npm-install --centrifugo PATH
"""

from realtime.bench.program import run_program

if __name__ == "__main__":
    run_program("compare")
