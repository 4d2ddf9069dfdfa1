//! The log through its public face, in slates of its own.

mod append;
mod bed;
mod cursors;
mod faults;
mod follow;
mod model;
mod retention;
mod scan;
mod streams;
