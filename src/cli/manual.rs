//! Completions and the manual page.

use anyhow::Result;
use clap::Command;

use super::output;

/// Prints completions of the command for a shell.
pub fn completions(shell: clap_complete::Shell, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "mo-router", &mut script);
    Ok(output::write(&script)?)
}

/// Prints the manual page, with a section for each subcommand.
pub fn man(mut command: Command) -> Result<()> {
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let sub = sub.clone().display_name(format!("mo-router-{}", sub.get_name()));
        clap_mangen::Man::new(sub).render(&mut page)?;
    }
    Ok(output::write(&page)?)
}
