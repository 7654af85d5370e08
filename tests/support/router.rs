//! The router as a process.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{plugins, within_reason};

/// The program.
pub const ROUTER: &str = env!("CARGO_BIN_EXE_mo-router");

/// What whoever changes something over HTTP has to know.
pub const TOKEN: &str = "the token of the tests";

/// A folder with settings, plugins and a delay store, and the router in it.
pub struct Router {
    folder: TempDir,
    /// What the daemon is.
    program: String,
    running: Option<Running>,
}

struct Running {
    process: Child,
    log: watch::Receiver<Vec<String>>,
}

impl Router {
    /// Makes the folder: `mo-router.toml` has `settings` and what every test needs, and
    /// each of `plugins` is the scripted one, with a name and the lines of its section.
    /// Unless the settings have limits, a plugin has a minute for each call, so that no
    /// plugin is slow because the machine is.
    pub fn new(settings: &str, plugins: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let router = Self { folder, program: ROUTER.to_owned(), running: None };
        std::fs::create_dir(router.path("plugins")).unwrap();
        router.put_file("token", b"correct horse battery staple\n");
        let sections = plugins.iter().map(|(name, lines)| {
            router.add_plugin(name);
            format!("[plugin.{name}]\n{lines}\n")
        });
        let sections: String = sections.collect();
        let path = |name: &str| router.path(name).display().to_string();
        let common = format!(
            "plugins = {{ dir = {:?}, cache_dir = {:?}, keep_bindings = '1s' }}\nhttp = {{ listen = \"127.0.0.1:0\", token_file = {:?} }}\ndelay.store = {:?}\n",
            path("plugins"),
            plugins::CODE,
            path("token"),
            format!("sqlite:{}", path("delays.db")),
        );
        let patient = if settings.contains("limits") { "" } else { "limits.timeout = '1min'\n" };
        let text = format!("{common}{patient}{settings}\n{sections}");
        router.put_file("mo-router.toml", text.as_bytes());
        router.put_file("token", TOKEN.as_bytes());
        router
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts the scripted plugin into the plugins' folder under a name.
    pub fn add_plugin(&self, name: &str) {
        self.add_file(name, &plugins::scripted());
    }

    /// Puts a plugin into the plugins' folder.
    pub fn add_file(&self, name: &str, file: &Path) {
        let content = std::fs::read(file);
        self.put(name, &content.unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }

    /// Puts a plugin with this content into the plugins' folder.
    pub fn put(&self, name: &str, content: &[u8]) {
        self.put_file(&format!("plugins/{name}.wasm"), content);
    }

    /// Writes a file of the folder as a whole: the router watches some of them, and must
    /// not see half of one.
    pub fn put_file(&self, name: &str, content: &[u8]) {
        let part = self.path("part");
        std::fs::write(&part, content).unwrap();
        std::fs::rename(part, self.path(name)).unwrap();
    }

    /// A plugin's file.
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.path("plugins").join(format!("{name}.wasm"))
    }

    /// The daemon is this program from the next start on.
    #[allow(dead_code, reason = "the benchmarks compare programs otherwise")]
    pub fn use_program(&mut self, program: &str) {
        program.clone_into(&mut self.program);
    }

    /// The daemon, by a command that it is given to as arguments. It does not outlive the
    /// thread that starts it, even if the tests are killed.
    fn started_by(&self, starter: &[&str]) -> Command {
        let whole =
            [starter, &["setpriv", "--pdeathsig", "KILL", self.program.as_str(), "run"]].concat();
        self.any_command(whole[0], &whole[1..])
    }

    /// A command of the router's, with the settings of this folder and no others.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.any_command(ROUTER, arguments)
    }

    /// The daemon without a broker: it reads JSON Lines from where the test writes them.
    pub fn reading(&self, output: Stdio) -> Child {
        let mut command = self.command(&["run"]);
        command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        command.spawn().expect("the router starts")
    }

    fn any_command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(self.folder.path())
            .args(arguments)
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn call(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        within_reason(&format!("{arguments:?} to end"), command.stdin(Stdio::null()).output())
            .await
            .unwrap()
    }

    /// Runs a command that succeeds and gives what it prints.
    pub async fn print(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr);
        // `status` has something to say of a router that is not ready, too.
        let is_shown = arguments[0] == "status" && output.status.code() == Some(3);
        assert!(is_shown || output.status.success(), "{arguments:?}: {}: {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that succeeds and reads the JSON that it prints.
    pub async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.print(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error} in {text}"))
    }

    /// Sets a key of the settings anew, for the next start.
    pub fn set(&self, key: &str, value: &str) {
        let settings = std::fs::read_to_string(self.path("mo-router.toml")).unwrap();
        let (is_it, line) = (format!("{key} ="), format!("{key} = {value:?}"));
        let replaced = |old| if str::starts_with(old, &is_it) { line.as_str() } else { old };
        let lines: Vec<&str> = settings.lines().map(replaced).collect();
        assert!(lines.contains(&line.as_str()), "the settings have no {key}");
        self.put_file("mo-router.toml", lines.join("\n").as_bytes());
    }

    /// Sets for how long bindings and queues of removed plugins are kept, for the next start.
    pub fn keep(&self, bindings: &str, queue: &str) {
        let settings = std::fs::read_to_string(self.path("mo-router.toml")).unwrap();
        let kept = format!("keep_bindings = '{bindings}', keep_queue = '{queue}'");
        let changed = settings.replace("keep_bindings = '1s'", &kept);
        assert_ne!(changed, settings);
        self.put_file("mo-router.toml", changed.as_bytes());
    }

    /// Starts the daemon.
    pub fn start(&mut self) {
        self.start_by(&[]);
    }

    /// Starts the daemon with more arguments.
    pub fn start_with(&mut self, arguments: &[&str]) {
        let mut command = self.started_by(&[]);
        command.args(arguments);
        self.spawn(command);
    }

    /// Starts the daemon where `command`, a line for the shell, was run before, and
    /// where only the daemon sees what that mounted.
    pub fn start_after(&mut self, command: &str) {
        let line = format!("{command} && exec \"$0\" \"$@\"");
        self.start_by(&["unshare", "--mount", "--map-root-user", "sh", "-c", &line]);
    }

    /// Runs a line for the shell where [`Router::start_after`] started the daemon.
    pub fn in_its_namespace(&self, command: &str) {
        let id = self.id().to_string();
        let status = std::process::Command::new("nsenter")
            .args([
                "--target",
                &id,
                "--user",
                "--mount",
                "--preserve-credentials",
                "sh",
                "-c",
                command,
            ])
            .status();
        assert!(status.unwrap().success(), "{command}");
    }

    /// Starts the daemon with more variables, each `NAME=VALUE`.
    pub fn start_with_variables(&mut self, variables: &[&str]) {
        self.start_by(&[&["env"], variables].concat());
    }

    /// Starts the daemon so that files' permissions hold for it, as they do not for root.
    pub fn start_without_privileges(&mut self) {
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
        self.start_by(if root { &setpriv } else { &[] });
    }

    /// Starts the daemon by a command that it is given to as arguments.
    fn start_by(&mut self, starter: &[&str]) {
        self.spawn(self.started_by(starter));
    }

    fn spawn(&mut self, mut command: Command) {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = lines(process.stderr.take().expect("its log is ours"));
        self.running = Some(Running { process, log });
    }

    /// Starts the daemon and waits until all plugins consume.
    pub async fn start_ready(&mut self) {
        self.start();
        self.logged("ready").await;
    }

    /// Waits for a line of the log, since the last start, that contains `text`.
    pub async fn logged(&self, text: &str) -> String {
        self.logged_times(text, 1).await
    }

    /// Waits until so many lines of the log, since the last start, contain `text`;
    /// gives the last of them.
    pub async fn logged_times(&self, text: &str, times: usize) -> String {
        match tokio::time::timeout(super::PATIENCE, self.find(text, times)).await {
            Ok(Some(line)) => line,
            Ok(None) | Err(_) => {
                panic!("{text:?} is not {times} times in the log:\n{}", self.log())
            }
        }
    }

    /// As [`Router::logged`], for as long as it takes: of what waits for a process that gives way
    /// to all others.
    #[allow(dead_code, reason = "the benchmarks have the machine to themselves")]
    pub async fn logged_at_last(&self, text: &str) -> String {
        let line = self.find(text, 1).await;
        line.unwrap_or_else(|| panic!("{text:?} is not in the log:\n{}", self.log()))
    }

    /// That line of the log; none if the router ends before.
    async fn find(&self, text: &str, times: usize) -> Option<String> {
        let mut log = self.running.as_ref().expect("the router runs").log.clone();
        let find = |lines: &Vec<String>| {
            lines.iter().filter(|line| line.contains(text)).nth(times - 1).cloned()
        };
        find(&*log.wait_for(|lines| find(lines).is_some()).await.ok()?)
    }

    /// How many lines of the log, since the last start, contain `text`.
    pub fn count_logged(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// The daemon's HTTP address.
    pub async fn address(&self) -> String {
        let line = self.logged("serving health, metrics and status").await;
        let (_, address) = line.split_once("address=").expect("the line has the address");
        address.to_owned()
    }

    /// What `status` says of one plugin.
    pub async fn status_of(&self, plugin: &str) -> serde_json::Value {
        let status = self.json(&["status", "--address", &self.address().await]).await;
        let mut plugins = status["plugins"].as_array().expect("a list of plugins").iter();
        plugins.find(|other| other["name"] == plugin).cloned().unwrap_or_default()
    }

    /// Waits until `status` says of one plugin what is `wanted`, and gives that.
    pub async fn status_until(
        &self,
        plugin: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        super::ask_until(&format!("a state of {plugin}"), || async {
            let status = self.status_of(plugin).await;
            wanted(&status).then_some(status)
        })
        .await
    }

    /// What the daemon answers at a path of its HTTP address, and with which status.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.get_as(path, "*/*").await
    }

    /// The same for somebody who takes these media types.
    pub async fn get_as(&self, path: &str, accept: &str) -> (u16, String) {
        let url = format!("http://{}/{path}", self.address().await);
        let accept = accept.to_owned();
        let answer = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut answer = agent.get(&url).header("Accept", &accept).call().unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        });
        within_reason(path, answer).await.unwrap()
    }

    /// The value of a metric, if it is told. It is named as it is written, without
    /// `mo_router_` and with all labels: `plugin_stale{plugin="a"}`.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("metrics").await;
        let start = format!("mo_router_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.map(|value| value.parse().expect("a number"))
    }

    /// Waits until a metric has a value: some are gathered every few seconds.
    pub async fn metric_until(&self, name: &str, value: f64) {
        super::ask_until(&format!("{name} to be {value}"), || async {
            (self.metric(name).await == Some(value)).then_some(())
        })
        .await;
    }

    /// The log since the last start.
    pub fn log(&self) -> String {
        self.running.as_ref().map(|running| running.log.borrow().join("\n")).unwrap_or_default()
    }

    /// The daemon's process.
    pub fn id(&self) -> u32 {
        let running = self.running.as_ref().expect("the router runs");
        running.process.id().expect("the router still runs")
    }

    /// Ends the daemon with SIGKILL.
    pub async fn kill(&mut self) {
        let mut running = self.running.take().expect("the router runs");
        running.process.kill().await.unwrap();
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        assert!(
            std::process::Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Tells the daemon to end, as systemd would, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until the daemon has ended, and its log is here to the last line.
    pub async fn ended(&mut self) -> ExitStatus {
        let running = self.running.as_mut().expect("the router runs");
        let ended = async {
            let status = running.process.wait().await.unwrap();
            while running.log.changed().await.is_ok() {}
            status
        };
        within_reason("the router to stop", ended).await
    }
}

/// The log of a test that fails is what one looks at first.
impl Drop for Router {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the router's log:\n{}", self.log());
        }
    }
}

/// Collects lines as they come.
fn lines(source: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<Vec<String>> {
    let (sender, receiver) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(source).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|log| log.push(line));
        }
    });
    receiver
}
