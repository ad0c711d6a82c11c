"""Reliable ingest in the simplest way: each request waits in a thread until Kafka acknowledges its record.

Run it with gunicorn: `KAFKA=host:port gunicorn --worker-class gthread emostream_lab.bench.peers.acknowledged:app`.
"""

import os

import msgspec
from flask import Flask, Response, jsonify, request
from kafka import KafkaProducer

app = Flask(__name__)
producer = KafkaProducer(
    bootstrap_servers=os.environ["KAFKA"].split(","), value_serializer=msgspec.json.encode, acks="all", linger_ms=5
)


@app.post("/v1/reactions")
def post_reactions() -> tuple[Response, int]:
    reaction = request.get_json()
    for field in ("user_id", "emoji_type", "timestamp"):
        if field not in reaction:
            raise KeyError(field)
    producer.send("reactions", reaction).get(timeout=5)
    return jsonify(accepted=1), 202
