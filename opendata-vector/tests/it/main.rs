//! The vector database through its public face, in slates of its own.

mod bed;
mod documents;
mod index;
mod refusals;
mod search;
