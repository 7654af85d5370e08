//! What the kernel says of each thread of a process.

/// What stands in this file of each thread, `comm` for its name. A thread that ends while it is
/// looked at is left out, and a process that has ended has none.
pub fn threads(process: u32, file: &str) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let files = threads.into_iter().flatten().flatten().map(|thread| thread.path().join(file));
    files.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}
