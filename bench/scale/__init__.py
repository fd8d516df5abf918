"""A discrete-event simulation of many live streams on edges and replicas: `python -m bench.scale`, docs/scale.md."""
