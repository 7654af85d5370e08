//! The distribution's PostgreSQL, in a folder of its own, reached by a socket in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use super::block_until;

/// A running server. It ends with this value, or with the process of the tests, however
/// that ends.
pub struct Server {
    folder: TempDir,
    /// `postgres.sh`.
    script: Mutex<Child>,
    databases: AtomicU32,
    /// More of its settings.
    settings: Vec<String>,
}

impl Server {
    /// A server with an empty cluster.
    pub fn start() -> Self {
        Self::start_with(&[], None)
    }

    /// The same with more settings, each `NAME=VALUE`, and other rules of who may connect how.
    pub fn start_with(settings: &[String], rules: Option<&str>) -> Self {
        let folder = tempfile::Builder::new().prefix("mo-router-pg-").tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let data = folder.path().join("data");
        run(as_postgres(&program("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "-D"])
            .arg(&data));
        if let Some(rules) = rules {
            fs::write(data.join("pg_hba.conf"), rules).unwrap();
        }
        let settings = settings.to_vec();
        let script = Mutex::new(launch(folder.path(), &settings));
        let server = Self { folder, script, databases: AtomicU32::new(0), settings };
        server.wait_until_ready();
        server
    }

    /// The one that tests share which need nothing special of it. It is stopped
    /// when the last of those that run has ended.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/{name}")
    }

    /// The folder that its socket is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs SQL in the database with this name; returns what it prints, bare.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database).args(["--command", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs one of PostgreSQL's own programs against this server, as its superuser.
    pub fn run(&self, name: &str, arguments: &[&str]) {
        run(Command::new(program(name))
            .args(["--username=postgres", "--host"])
            .arg(self.folder.path())
            .args(arguments));
    }

    /// Ends the server as a crash would.
    pub fn crash(&self) {
        let mut script = self.script.lock().unwrap();
        writeln!(script.stdin.as_mut().unwrap(), "crash").expect("postgres.sh listens");
        script.wait().unwrap();
    }

    /// Starts a crashed server again.
    pub fn restart(&self) {
        *self.script.lock().unwrap() = launch(self.folder.path(), &self.settings);
        self.wait_until_ready();
    }

    /// Stops all its processes: connections stay, and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let file = self.folder.path().join("data/postmaster.pid");
        let file = fs::read_to_string(file).expect("the server runs");
        let server = file.lines().next().expect("its number").trim();
        // No more are started when it is stopped.
        run(Command::new("kill").args(["-s", name, server]));
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", server]).output().unwrap();
        for child in String::from_utf8(children.stdout).unwrap().split_whitespace() {
            // Some may have ended.
            let _ = Command::new("kill").args(["-s", name, child]).output();
        }
    }

    fn port(&self) -> &str {
        let port = self.settings.iter().find_map(|setting| setting.strip_prefix("port="));
        port.unwrap_or("5432")
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(program("psql"));
        psql.env("PGPORT", self.port())
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username=postgres"])
            .arg("--host")
            .arg(self.folder.path())
            .args(["--dbname", database]);
        psql
    }

    fn wait_until_ready(&self) {
        let mut ready = Command::new(program("pg_isready"));
        ready.env("PGPORT", self.port()).arg("--quiet").arg("--host").arg(self.folder.path());
        let what = format!("PostgreSQL to start, see {}/log", self.folder.path().display());
        block_until(&what, || ready.status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let script = self.script.get_mut().unwrap_or_else(PoisonError::into_inner);
        // `wait` closes its input.
        let _ = script.wait();
    }
}

fn launch(folder: &Path, settings: &[String]) -> Child {
    let mut server = as_postgres(&program("postgres"));
    server.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args([
        "-c",
        "listen_addresses=",
        "-c",
        "max_connections=50",
    ]);
    for setting in settings {
        server.args(["-c", setting]);
    }
    let mut script =
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/postgres.sh"));
    script.arg(folder).arg(server.get_program()).args(server.get_args()).current_dir("/");
    script.stdin(Stdio::piped()).spawn().unwrap()
}

/// The newest that the distribution has installed.
fn program(name: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is needed: apt-get install postgresql")
        .map(|version| version.unwrap().path().join("bin").join(name))
        .filter(|program| program.exists())
        .collect();
    versions.sort();
    versions.pop().unwrap_or_else(|| panic!("{name} is needed: apt-get install postgresql"))
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program)
        .current_dir("/");
    command
}

/// The user that it runs as.
pub fn user() -> u32 {
    let name = if is_root() { "postgres" } else { "" };
    let output = Command::new("id").arg("-u").args((!name.is_empty()).then_some(name)).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().parse().unwrap()
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
