"""The cluster-aware client: sans-IO routing core and operations, a blocking and a Trio driver over them."""
