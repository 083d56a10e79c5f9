//! Task: the built-in image sealane.io/echo, a server and client for HTTP, TCP and UDP.
