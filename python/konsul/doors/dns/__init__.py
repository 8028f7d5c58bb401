"""The DNS door: the zone of this node's services, over UDP and TCP."""
