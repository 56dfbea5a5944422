"""
Other push servers, configured to do what ours does, for ``compare``.

Each program here is a small server that speaks its own protocol in its usual way:
whoever connects and subscribes gets what is published on the channel. It listens on
one port of loopback and runs until it is stopped.
"""
