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

/// Prints the manual page, with a part for each command.
pub fn man(mut command: Command) -> Result<()> {
    command.build();
    let mut page = String::new();
    render(&command, "mo-router", &mut page)?;
    Ok(output::write(page.as_bytes())?)
}

/// Renders a command and those below it. All of them are in one page, so each is called what
/// people type, and not by the name of a page of its own.
fn render(command: &Command, name: &str, page: &mut String) -> Result<()> {
    let mut own = Vec::new();
    clap_mangen::Man::new(command.clone().display_name(name.to_owned())).render(&mut own)?;
    let mut own = String::from_utf8(own)?;
    let below = || command.get_subcommands().filter(|below| !below.is_hide_set());
    for below in below() {
        let escaped = |name: String| name.replace('-', r"\-");
        let page_of = escaped(format!("{name}-{}(1)", below.get_name()));
        own = own.replace(&page_of, &escaped(format!("{name} {}", below.get_name())));
    }
    page.push_str(&own);
    for below in below().filter(|below| below.get_name() != "help") {
        render(below, &format!("{name} {}", below.get_name()), page)?;
    }
    Ok(())
}
