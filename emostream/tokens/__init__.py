"""Who may react and who may watch: a JSON Web Token says so.

Signed by a key of the operator's, it is checked by ingest, registry and subscribers. `keys` and `verifier` are pure.
`gate` reads the key's file, and `own` gives tokens to our own tools.
"""
