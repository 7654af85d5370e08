//! What a component exports and imports, and whether the router supports it.

use anyhow::{Result, bail};
use semver::Version;
use serde::{Deserialize, Serialize};
use wasmparser::Payload;
use wasmtime::component::Component;

use super::sections::sections;

/// The versions of `os2mo:router` that this router has, the newest last.
///
/// Plugins built against any of them work, for good. One built against a newer minor version may
/// need what this router does not have, and is not loaded.
pub const INTERFACE_VERSIONS: [Version; 2] = [Version::new(1, 0, 0), NEWEST];

/// The newest of them.
const NEWEST: Version = Version::new(1, 1, 0);

/// The names under which plugins import the log.
pub(super) const LOGGING: [&str; 2] = ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

/// What a plugin exports, without its version.
const FILTER: &str = "os2mo:router/filter";

/// The packages of WASI 0.2 that are linked. They give access to nothing.
const WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// The names of a component's imports and exports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

impl Interface {
    /// Reads the names from a component's outermost sections.
    pub(super) fn of(component: &[u8]) -> Result<Self> {
        let mut interface = Self::default();
        let mut depth = 0_usize;
        for payload in sections(component) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        interface.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        interface.exports.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(interface)
    }

    /// Takes the names from compiled code.
    pub(super) fn of_compiled(component: &Component) -> Self {
        let engine = component.engine();
        let component = component.component_type();
        Self {
            imports: component.imports(engine).map(|(name, _)| name.to_owned()).collect(),
            exports: component.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// The version of `os2mo:router` that the component was built against; none if it is
    /// not a plugin, or one of several versions.
    pub fn version(&self) -> Option<Version> {
        let mut versions = self.versions();
        versions.next().filter(|_| versions.next().is_none())
    }

    fn versions(&self) -> impl Iterator<Item = Version> {
        self.exports.iter().filter_map(|export| version_of(export, FILTER))
    }

    /// The imports that the router does not provide.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().map(String::as_str).filter(|import| !is_granted(import))
    }

    /// Checks that this is a plugin that the router can run, and says which version of the
    /// interface it was built against.
    ///
    /// # Errors
    /// Says what is wrong and how to fix it.
    pub(super) fn checked(&self) -> Result<Version> {
        let versions: Vec<Version> = self.versions().collect();
        let version = match &versions[..] {
            [] => bail!("{}", self.not_a_plugin()),
            [version] => version.clone(),
            _ => bail!("{}", several(&versions)),
        };
        if !supports(&version) {
            bail!(
                "the plugin was built against os2mo:router@{version}, but this router supports {}: {}",
                supported(),
                if version.major == NEWEST.major {
                    "update the router, or build the plugin against the router's wit folder"
                } else {
                    "build the plugin against the router's wit folder"
                }
            );
        }
        let missing: Vec<&str> = self.missing().collect();
        match missing[..] {
            [] => Ok(version),
            [import] => bail!("the plugin imports {import}, {}", advice(import)),
            [import, ..] => bail!(
                "the plugin imports {}, which are not available; the first is one {}",
                missing.join(", "),
                advice(import)
            ),
        }
    }

    /// What to say about a component that does not export `filter`.
    fn not_a_plugin(&self) -> String {
        let exports = match self.exports[..] {
            [] => "nothing".to_owned(),
            _ => self.exports.join(", "),
        };
        format!(
            "the component is not a plugin: it exports {exports}, but a plugin exports \
             {FILTER}@{NEWEST}: build it for the world plugin of the router's wit folder"
        )
    }
}

/// What to say about a component that exports `filter` more than once.
fn several(versions: &[Version]) -> String {
    let exports: Vec<String> =
        versions.iter().map(|version| format!("{FILTER}@{version}")).collect();
    format!(
        "the component exports {}, and the router cannot know which of them is meant: build it for \
         the world os2mo:router/plugin@{NEWEST} alone",
        exports.join(" and ")
    )
}

/// The versions that the router has, for people.
pub(super) fn supported() -> String {
    let versions = INTERFACE_VERSIONS.map(|version| version.to_string());
    format!("os2mo:router@{}", versions.join(" and "))
}

/// The version in `INTERFACE@VERSION`.
fn version_of(name: &str, interface: &str) -> Option<Version> {
    name.strip_prefix(interface)?.strip_prefix('@')?.parse().ok()
}

/// Whether the router has this version. Its patches say the same in other words.
fn supports(version: &Version) -> bool {
    version.pre.is_empty() && version.major == NEWEST.major && version.minor <= NEWEST.minor
}

/// Whether plugins may import this.
pub fn is_granted(import: &str) -> bool {
    let (interface, version) = match import.split_once('@') {
        Some((interface, version)) => (interface, version.parse::<Version>().ok()),
        None => (import, None),
    };
    match interface.split_once('/') {
        Some(("os2mo:router", "types")) => version.is_some_and(|version| supports(&version)),
        Some(("wasi:logging", _)) => LOGGING.contains(&import),
        Some(("wasi:config", "store")) => import == "wasi:config/store@0.2.0-rc.1",
        Some((package, _)) => {
            let package = package.strip_prefix("wasi:");
            package.is_some_and(|package| WASI.contains(&package))
                && version.is_some_and(|version| (version.major, version.minor) == (0, 2))
        }
        None => false,
    }
}

/// What to do about an import that is not available.
fn advice(import: &str) -> &'static str {
    if import.starts_with("wasi:http") {
        "which is not available, because plugins have no network: return a publication, and let a \
         program that consumes it make the request"
    } else if import.starts_with("wasi:config") || import.starts_with("wasi:logging") {
        "whose version the router does not support: build it against the router's wit folder"
    } else if import.starts_with("wasi:") && import.contains("@0.3") {
        "which is WASI 0.3, but the router supports WASI 0.2: build it for WASI 0.2 (wasm32-wasip2)"
    } else {
        "which is not available: build it without; a plugin may import WASI 0.2, wasi:logging and \
         wasi:config/store"
    }
}
