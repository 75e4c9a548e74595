"""The resolvers that pods bring, in a pod; conftest.py has the stand."""
