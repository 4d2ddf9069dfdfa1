//! Integration tests, one module a capability.
