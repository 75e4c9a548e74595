"""What a cluster says: Kubernetes objects decoded, kept, and turned into subtrees and deltas. Pure.

Reading files and watching the API are done elsewhere; this room takes bytes and returns values.
"""
