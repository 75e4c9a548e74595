"""kdns: DNS for Kubernetes services, as a server, as a cluster DNS and as a client library.

Importing this package imports nothing else; docs/design.md names the rooms and what each may import.
"""

__version__ = "0.1.0"
