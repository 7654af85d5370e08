//! The distribution's pgbouncer, in front of a server of the tests, in transaction mode.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::block_until;
use super::postgres::{Server, is_root};

/// A pooler that ends with this value.
pub struct PgBouncer {
    folder: TempDir,
    process: Child,
}

impl PgBouncer {
    /// Before this server.
    pub fn start(server: &Server) -> Self {
        let folder = tempfile::Builder::new().prefix("mo-router-pooler-").tempdir().unwrap();
        let (own, host) = (folder.path().display(), server.folder().display());
        let settings = format!(
            "[databases]\n* = host={host}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {own}\n\
             auth_type = trust\nauth_file = {own}/users\npool_mode = transaction\ndefault_pool_size = 5\n\
             logfile = {own}/log\nserver_round_robin = 1\n"
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), settings).unwrap();
        std::fs::write(folder.path().join("users"), "\"postgres\" \"\"\n").unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if is_root() {
            // It refuses to run as root.
            let owner = ["postgres:postgres"].map(std::ffi::OsStr::new);
            let files = [folder.path().to_owned(), folder.path().join("pgbouncer.ini")];
            let given = Command::new("chown").arg("-R").args(owner).args(files).status().unwrap();
            assert!(given.success());
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(program()).arg(folder.path().join("pgbouncer.ini")).current_dir("/");
        let process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let socket = folder.path().join(".s.PGSQL.6432");
        block_until("pgbouncer to start", || socket.exists());
        Self { folder, process }
    }

    /// The URL of one of the server's databases behind it.
    pub fn url(&self, database: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}:6432/{database}")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> &'static Path {
    let program = Path::new("/usr/sbin/pgbouncer");
    assert!(program.exists(), "pgbouncer is needed: apt-get install pgbouncer");
    program
}
