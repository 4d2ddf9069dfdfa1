//! The program from outside: the real binary, in a folder of its own, on local files.

#[cfg(test)]
mod cli {
    mod cloud;
    mod commands;
    mod debian;
    mod files;
    mod harness;
    mod intake;
    mod joined;
    mod prometheus;
    mod server;
    mod upkeep;
    mod vector;
}
