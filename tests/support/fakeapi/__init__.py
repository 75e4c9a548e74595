"""A fake Kubernetes API server that answers as a real one was recorded to.

    FakeCluster     the whole of it without sockets and clock (cluster)
    FakeApiServer   the same behind HTTP(S) on loopback, in a thread (server)
    FakeApiProcess  in a process of its own, that can be killed (process)
    Simulation      reflectors against a FakeCluster over simulated time (simulation)
    Api             one way to change the fake and a real cluster (api)
"""
