"""What the Redis forms share: connections, key names, pub/sub, scripts."""
