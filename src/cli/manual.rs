//! Completions and the manual page.

use std::io;

use anyhow::Result;
use clap::CommandFactory;

use super::Cli;

/// Prints completions for a shell.
pub fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "mo-router", &mut io::stdout());
}

/// Prints the manual page, with a section for each command.
pub fn man() -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut out = io::stdout().lock();
    clap_mangen::Man::new(command.clone()).render(&mut out)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let sub = sub.clone().display_name(format!("mo-router-{}", sub.get_name()));
        clap_mangen::Man::new(sub).render(&mut out)?;
    }
    Ok(())
}
