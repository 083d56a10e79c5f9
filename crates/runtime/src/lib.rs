//! Task: the pod shim, which holds a pod's namespaces and parents its containers.
