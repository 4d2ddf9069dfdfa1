//! The program from outside: the real binary, in a folder of its own, on local files.

#[cfg(test)]
mod cli {
    mod commands;
    mod files;
    mod harness;
    mod server;
    mod vector;
}
