//! Integration tests live in `it/`; what README shows is compiled and run as the documentation of this crate.

#![cfg_attr(doctest, doc = include_str!("../../README.md"))]
