"""The Python client: watches swarms without gaps or repeats, sends reactions, and reports their outcome.

These modules are pure and work with any event loop: sse, http1, streams, watcher, reconnect, outcome. These need
asyncio: connection, viewer, reactions.
"""
