//! What the program says of how it was built.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "cargo speaks to it through the environment")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MO_ROUTER_REVISION");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    // "rustc 1.95.0 (59807616e 2026-04-14)": the number is enough.
    let version = version.unwrap_or_default();
    let number = version.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=MO_ROUTER_RUSTC={number}");
}
