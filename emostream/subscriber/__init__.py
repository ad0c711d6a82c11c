"""The edge server: it holds the viewers' connections and fans out each swarm of its cluster's topic.

`history` and `audience` are the core: which message a viewer gets next. `frames` and `http` are the bytes on the wire.
`connection`, `server`, `consumer` and `service` are the edge: sockets, routes, Kafka, and the life of the process.
"""
