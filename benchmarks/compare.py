"""
Question: what do other push servers need for the same work, on this machine?

Method: that of ``realtime bench compare``, of which this is the program; --help tells
everything.

Finding (2026-11-23, two cores shared with much else, 1,000 subscribers, three to five
turns; processor time and memory only, for there was no core left for latencies): a
delivered frame costs Centrifugo 2.1 to 2.4 times ours (2.5 to 2.8 with Redis), picows
1.1 to 1.2, websockets and Socket.IO 2.0 times, python-socketio 9 to 13, Channels 18 to
28. An idle connection takes 2.9 KiB of ours, 45 to 54 of Centrifugo's, 30 of picows',
14 of websockets'. To come in, a client costs Centrifugo 0.7 to 0.9 of ours, and picows,
which checks nothing, 0.4 of it: this is where we are behind. Of our time for that,
29 % of the samples are three writes to the socket (the kernel's), 7 % the check of the
token, 5 % the line in the log, which Centrifugo does not write.

    python benchmarks/compare.py --npm-install --centrifugo PATH
"""

from realtime.bench.program import run_program

if __name__ == "__main__":
    run_program("compare")
