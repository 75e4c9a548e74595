"""kdns and its API server on two hosts, which are network namespaces, and what can happen between them."""
