//! Edge: a client of any Kubernetes API server.
