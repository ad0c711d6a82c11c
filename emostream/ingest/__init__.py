"""The API that takes reactions: it answers 202 once Kafka has them. service.py ties the parts together."""
