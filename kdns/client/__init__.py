"""The client library: resolve a service, balance over its pods, retry when one dies (docs/client.md).

Names are imported when they are first used, so that an app pays for what it uses. Importing this imports no server, no
Kubernetes client, no HTTP stack and no DNS library.
"""
