"""A TCP fault proxy in front of any host:port, for agents whose upstream address cannot be changed."""
