"""What plays a viewer: watches swarms without a gap or a repeat, and sends reactions whose outcome it can tell.

Pure, for any event loop: sse, http1, streams, watcher, course, outcome. For asyncio: connection, viewer, reactions.
"""
