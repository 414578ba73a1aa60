"""The local stack: Cassandra, Kafka, Envoy, Caddy and the services as children of one supervisor."""
