"""Ingest as in a textbook: Flask's own server, and a producer that collects records for half a second.

It answers 200 once the producer has the reaction. Kafka gets the reaction later, or never. Run it with
`python -m emostream_lab.bench.peers.textbook PORT`.
"""

import os
import sys
import time

import msgspec
from flask import Flask, Response, jsonify, request
from kafka import KafkaProducer

from emostream_lab.processes.servers import HOST

app = Flask(__name__)


@app.post("/v1/reactions")
def post_reactions() -> Response:
    reaction = request.get_json()
    for field in ("user_id", "emoji_type", "timestamp"):
        if field not in reaction:
            raise KeyError(field)
    producer.send("reactions", reaction)
    return jsonify(status="queued", received=int(time.time() * 1000))


if __name__ == "__main__":
    producer = KafkaProducer(
        bootstrap_servers=os.environ["KAFKA"].split(","), value_serializer=msgspec.json.encode, linger_ms=500
    )
    app.run(HOST, int(sys.argv[1]))
