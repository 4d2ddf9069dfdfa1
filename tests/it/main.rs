//! Integration tests, one module a capability.

mod s3;
