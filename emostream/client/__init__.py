"""The Python client: watches swarms without gaps or repeats, sends reactions, and reports their outcome.

These modules are pure and work with any event loop: session, which has all that a viewer decides; watcher, reconnect,
streams, sse, http1 and outcome. These need asyncio: connection, viewer, reactions. Locust's viewers and senders, in
emostream_lab.load, are other shells around the same pure modules.
"""
