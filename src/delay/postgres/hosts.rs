//! The servers that a database may be on: a URL can name several hosts, and a name can stand
//! for several addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rand::seq::SliceRandom;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};

/// PostgreSQL's usual port.
const PORT: u16 = 5432;

/// The servers that a URL names. Clones know together which of them was good last.
#[derive(Clone, Debug)]
pub struct Hosts {
    named: Vec<Place>,
    /// Whether they are tried in any order.
    shuffled: bool,
    last: Arc<Mutex<Option<Place>>>,
}

/// Where a server is: a name, an address or both; or the folder of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: u16,
}

impl Hosts {
    /// Those of a configuration.
    ///
    /// # Errors
    /// There are not as many names as addresses or ports.
    pub fn of(config: &Config) -> Result<Self> {
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let ports = config.get_ports();
        let count = hosts.len().max(addresses.len());
        ensure!(
            hosts.is_empty() || addresses.is_empty() || hosts.len() == addresses.len(),
            "it has {} hosts and {} of hostaddr",
            hosts.len(),
            addresses.len()
        );
        ensure!(
            ports.len() < 2 || ports.len() == count,
            "it has {} ports for {count} servers",
            ports.len()
        );
        let place = |at: usize| Place {
            host: hosts.get(at).cloned(),
            address: addresses.get(at).copied(),
            port: ports.get(at).or(ports.first()).copied().unwrap_or(PORT),
        };
        Ok(Self {
            named: (0..count).map(place).collect(),
            shuffled: config.get_load_balance_hosts() == LoadBalanceHosts::Random,
            last: Arc::default(),
        })
    }

    /// Whether all of them are sockets in the file system.
    pub fn are_local(&self) -> bool {
        let is_local = |place: &Place| matches!(place.host, Some(Host::Unix(_)));
        !self.named.is_empty() && self.named.iter().all(is_local)
    }

    /// Tries them in turn until one is good, beginning with the one that was good last. Each
    /// address may take as long as `limit`: one that says nothing hides none of the others.
    ///
    /// # Errors
    /// None is good. With several of them, each is named with its error.
    pub async fn first_good<T, F: Future<Output = Result<T>>>(
        &self,
        limit: Duration,
        attempt: impl Fn(Place) -> F,
    ) -> Result<T> {
        let mut failures: Vec<(String, anyhow::Error)> = Vec::new();
        let mut tried = Vec::new();
        for named in self.in_turn() {
            let found = within(limit, named.addresses()).await;
            let places = match found.with_context(|| format!("cannot find {named}")) {
                Ok(places) => places,
                Err(error) => {
                    failures.push((named.to_string(), error));
                    continue;
                }
            };
            for place in places {
                if tried.contains(&place) {
                    continue;
                }
                match within(limit, attempt(place.clone())).await {
                    Ok(good) => {
                        *self.last() = Some(place);
                        return Ok(good);
                    }
                    Err(error) => failures.push((place.to_string(), error)),
                }
                tried.push(place);
            }
        }
        match failures.len() {
            0 => Err(anyhow!("it names no host")),
            1 => Err(failures.remove(0).1),
            _ => {
                let each = failures.iter().map(|(place, error)| format!("{place}: {error:#}"));
                Err(anyhow!("{}", each.collect::<Vec<_>>().join("; ")))
            }
        }
    }

    fn in_turn(&self) -> Vec<Place> {
        let mut named = self.named.clone();
        if self.shuffled {
            #[expect(clippy::disallowed_methods, reason = "a run does not choose its servers")]
            named.shuffle(&mut rand::rng());
        }
        let last = self.last().clone();
        last.into_iter().chain(named).collect()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Place>> {
        // A panic cannot leave it half changed.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A configuration for this server, from one that names none.
    pub fn with(&self, config: &Config) -> Config {
        let mut config = config.clone();
        match &self.host {
            Some(Host::Tcp(name)) => {
                config.host(name);
            }
            Some(Host::Unix(folder)) => {
                config.host_path(folder);
            }
            None => {}
        }
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        config.port(self.port);
        config
    }

    /// The same place for each address that its name stands for.
    async fn addresses(&self) -> Result<Vec<Self>> {
        let Some(Host::Tcp(name)) = self.host.as_ref().filter(|_| self.address.is_none()) else {
            return Ok(vec![self.clone()]);
        };
        let found = lookup_host((name.as_str(), self.port)).await?;
        let places: Vec<Self> =
            found.map(|found| Self { address: Some(found.ip()), ..self.clone() }).collect();
        ensure!(!places.is_empty(), "its name stands for no address");
        Ok(places)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        let address = self.address.map(|address| SocketAddr::new(address, port));
        match (&self.host, address) {
            (Some(Host::Unix(folder)), _) => write!(f, "{}:{port}", folder.display()),
            (Some(Host::Tcp(name)), Some(address)) if name.parse::<IpAddr>().is_err() => {
                write!(f, "{name} ({address})")
            }
            (_, Some(address)) => address.fmt(f),
            (Some(Host::Tcp(name)), None) => write!(f, "{name}:{port}"),
            (None, None) => f.write_str("no host"),
        }
    }
}

async fn within<T>(limit: Duration, task: impl Future<Output = Result<T>>) -> Result<T> {
    let done = timeout(limit, task).await;
    done.unwrap_or_else(|_| Err(anyhow!("no connection within {limit:?} (connect_timeout)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn hosts(url: &str) -> Hosts {
        Hosts::of(&url.parse().unwrap()).unwrap()
    }

    /// The first server that is tried with this address, if `good` is; the others say nothing.
    async fn good(hosts: &Hosts, good: &str, tried: &Mutex<Vec<String>>) -> Result<String> {
        hosts
            .first_good(LIMIT, async |place: Place| {
                let name = place.to_string();
                tried.lock().unwrap().push(name.clone());
                match name == good {
                    true => Ok(name),
                    false => std::future::pending().await,
                }
            })
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_hides_none_of_the_others() {
        let hosts = hosts("postgres://127.0.0.1:1,127.0.0.2:2,127.0.0.3:3/d");
        let tried = Mutex::default();
        assert_eq!(good(&hosts, "127.0.0.2:2", &tried).await.unwrap(), "127.0.0.2:2");
        assert_eq!(*tried.lock().unwrap(), ["127.0.0.1:1", "127.0.0.2:2"]);
        // And is not waited for again, until the good one is gone.
        tried.lock().unwrap().clear();
        good(&hosts, "127.0.0.2:2", &tried).await.unwrap();
        assert_eq!(*tried.lock().unwrap(), ["127.0.0.2:2"]);
        tried.lock().unwrap().clear();
        good(&hosts, "127.0.0.3:3", &tried).await.unwrap();
        assert_eq!(*tried.lock().unwrap(), ["127.0.0.2:2", "127.0.0.1:1", "127.0.0.3:3"]);
        let error = good(&hosts, "none", &tried).await.unwrap_err().to_string();
        for place in ["127.0.0.1:1: ", "127.0.0.2:2: ", "127.0.0.3:3: "] {
            assert!(error.contains(place), "{error}");
        }
    }

    #[test]
    fn names_addresses_and_ports_belong_together() {
        let hosts = hosts("postgres://h1,h2/d?hostaddr=10.0.0.1,10.0.0.2");
        let places: Vec<String> = hosts.named.iter().map(Place::to_string).collect();
        assert_eq!(places, ["h1 (10.0.0.1:5432)", "h2 (10.0.0.2:5432)"]);
        let config = hosts.named[1].with(&Config::new());
        assert_eq!(config.get_hosts(), [Host::Tcp("h2".into())]);
        assert_eq!((config.get_hostaddrs().len(), config.get_ports()), (1, &[5432][..]));
        let wrong = "postgres://h1,h2/d?hostaddr=10.0.0.1".parse().unwrap();
        let error = Hosts::of(&wrong).unwrap_err().to_string();
        assert!(error.contains("2 hosts and 1 of hostaddr"), "{error}");
    }
}
