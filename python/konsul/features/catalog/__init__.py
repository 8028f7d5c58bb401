"""The service catalog: instances of services, held alive by heartbeats, found by name, tag and metadata."""
