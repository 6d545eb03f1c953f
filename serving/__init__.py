"""The BentoML service: the champion of the registry, answered from the online feature store."""
