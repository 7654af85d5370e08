//! What the program says of how it was built, and the files of its page.

use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::{Compression, write::GzEncoder};

/// Where the files of the page are.
const PAGE: &str = "src/daemon/http/page";

#[expect(clippy::disallowed_methods, reason = "cargo speaks to it through the environment")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=BUILD_REVISION");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    // "rustc 1.95.0 (59807616e 2026-04-14)": the number is enough.
    let version = version.unwrap_or_default();
    let number = version.split(' ').nth(1).unwrap_or("unknown");
    // Cargo passes it on to what it runs, where `MO_ROUTER_…` would be a setting.
    println!("cargo:rustc-env=BUILD_RUSTC={number}");
    println!("cargo:rerun-if-changed={PAGE}");
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap_or_default());
    if let Err(error) = embed(&out) {
        println!("cargo:error=the files of the page in {PAGE}: {error}");
    }
}

/// Writes a table of the page's files, each as it is and compressed, and a hash of them all:
/// their addresses have it, so that a browser may keep them for ever.
fn embed(out: &Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    collect(Path::new(PAGE), &mut files)?;
    files.sort();
    let mut hash = DefaultHasher::new();
    for (name, path) in &files {
        hash.write(name.as_bytes());
        hash.write(&fs::read(path)?);
    }
    let hash = format!("{:016x}", hash.finish());
    // The folder may be moved: its name is not in the table.
    let mut table = format!(
        "macro_rules! built {{ ($name:literal) => {{ \
             include_bytes!(concat!(env!(\"OUT_DIR\"), \"/\", $name)) }} }}\n\
         pub const HASH: &str = {hash:?};\npub static FILES: &[File] = &[\n"
    );
    for (number, (name, path)) in files.iter().enumerate() {
        let mut content = fs::read(path)?;
        if name == "index.html" {
            content = String::from_utf8_lossy(&content).replace("{{hash}}", &hash).into_bytes();
        }
        let [plain, compressed] = [format!("page-{number}"), format!("page-{number}.gz")];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&content)?;
        fs::write(out.join(&compressed), gzip.finish()?)?;
        fs::write(out.join(&plain), content)?;
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "    File {{ name: {name:?}, plain: built!({plain:?}), gzip: built!({compressed:?}) }},"
        );
    }
    fs::write(out.join("page.rs"), table + "];\n")
}

/// The files in a folder and below it, by their names from the page's folder on.
fn collect(folder: &Path, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension != "rs") {
            let name = path.strip_prefix(PAGE).unwrap_or(&path);
            files.push((name.display().to_string(), path.clone()));
        }
    }
    Ok(())
}
