use clap::CommandFactory;

use super::Cli;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

/// Such a command would silently get the other's value.
#[test]
fn no_command_uses_the_id_of_an_option_that_all_have() {
    fn check(command: &clap::Command, global: &[String]) {
        for inner in command.get_subcommands() {
            let own = inner.get_arguments().filter(|argument| !argument.is_global_set());
            for id in own.map(|argument| argument.get_id().to_string()) {
                assert!(!global.contains(&id), "{} uses {id}", inner.get_name());
            }
            check(inner, global);
        }
    }
    let command = Cli::command();
    let global: Vec<String> = command.get_arguments().map(|argument| argument.get_id().to_string()).collect();
    assert!(global.contains(&"path".to_owned()));
    check(&command, &global);
}
