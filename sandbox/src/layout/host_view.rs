// sandbox/src/layout/host_view.rs
//! The root that shows the host's `/usr`, under the trees that a plan lays above it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::SandboxError;
use crate::operation::Access;
use crate::owners::Owners;

use super::{Layout, Points, ROOT, inside};

/// Names at the top of a layer that a sandbox makes itself.
const OURS: [&str; 5] = ["dev", "proc", "sys", "tmp", "run"];
/// Host links or directories beside `/usr` that programs and compilers name.
pub(crate) const BESIDE_USR: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
impl Layout {
    /// The host's `/usr` and its company, under the trees of `overlays`.
    pub(super) fn host(
        &mut self,
        overlays: &[PathBuf],
        points: &Points,
        owners: Option<&Owners>,
    ) -> Result<(), SandboxError> {
        let tops = tops(overlays)?;
        // A mount of its own, in the file system that everything begins with: another one would take as long as all links of it.
        self.again(ROOT, ROOT, false)?;
        for name in ["usr", "dev", "proc", "tmp", "run", "etc"] {
            self.directory(&inside(&format!("/{name}")))?;
        }
        let with_host = |name: &str| {
            let mut sources: Vec<PathBuf> = tops.get(name).cloned().unwrap_or_default();
            sources.push(Path::new("/").join(name));
            sources
        };
        self.merged("usr", &with_host("usr"), &inside("/usr"))?;
        self.without_local(overlays)?;
        for name in BESIDE_USR {
            let host = Path::new("/").join(name);
            let path = inside(&format!("/{name}"));
            let brought = tops.get(name);
            match fs::symlink_metadata(&host) {
                Ok(about) if about.is_symlink() => {
                    let target = fs::read_link(&host).map_err(|source| SandboxError::Source {
                        path: host.clone(),
                        step: "readlink",
                        source,
                    })?;
                    self.link(&path, target.as_os_str().as_bytes())?;
                    if let Some(layers) = brought {
                        self.laid_over(name, layers)?;
                    }
                }
                Ok(_) => {
                    self.directory(&path)?;
                    self.merged(name, &with_host(name), &path)?;
                }
                Err(_) => {
                    if let Some(layers) = brought {
                        self.directory(&path)?;
                        self.merged(name, layers, &path)?;
                    }
                }
            }
        }
        let mut others: Vec<&str> = Vec::new();
        for (name, layers) in &tops {
            if !BESIDE_USR.contains(&name.as_str()) && !["usr", "etc"].contains(&name.as_str()) {
                let path = inside(&format!("/{name}"));
                self.directory(&path)?;
                self.merged(name, layers, &path)?;
                others.push(name);
            }
        }
        self.host_etc(tops.get("etc").map_or(&[], Vec::as_slice), owners)?;
        if !tops.contains_key("var") {
            self.directory(&inside("/var"))?;
            self.link(&inside("/var/tmp"), "../tmp")?;
        }
        if let Some(target) = points.paths.keys().find(|path| others.iter().any(|top| path[1..] == **top)) {
            return Err(SandboxError::Plan {
                what: format!("{target} is a bind's, but a package of the build root has it too"),
            });
        }
        self.points(ROOT, points, false)
    }

    /// Hides the host's `/usr/local`, showing there only what `overlays` bring.
    fn without_local(&mut self, overlays: &[PathBuf]) -> Result<(), SandboxError> {
        let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|about| about.is_dir());
        if !is_directory(Path::new("/usr/local")) {
            return Ok(());
        }
        let brought: Vec<PathBuf> =
            overlays.iter().map(|tree| tree.join("usr/local")).filter(|path| is_directory(path)).collect();
        if brought.is_empty() {
            self.again("/facts/nothing", &inside("/usr/local"), false)
        } else {
            self.merged("local", &brought, &inside("/usr/local"))
        }
    }

    /// Lays directories such as `/bin` of a tree over the directory of `/usr` that the host's link `/bin`
    /// leads to.
    fn laid_over(&mut self, name: &str, layers: &[PathBuf]) -> Result<(), SandboxError> {
        let directory = format!("/layers/{name}");
        let below = inside(&format!("/usr/{name}"));
        let mut names = self.area(&directory, layers, super::layer)?;
        let under = format!("{directory}/under");
        self.directory(&under)?;
        self.again(&below, &under, false)?;
        names.push("under".to_owned());
        self.overlay(&directory, &names, &below)
    }

    /// `/etc`: our files, the host's alternatives and loader cache, and under them the trees' `/etc`.
    fn host_etc(&mut self, layers: &[PathBuf], owners: Option<&Owners>) -> Result<(), SandboxError> {
        let alternatives = Path::new("/etc/alternatives");
        let cache = Path::new("/etc/ld.so.cache");
        let etc = inside("/etc");
        let own = "/layers/etc/own".to_owned();
        let mut names = vec!["own".to_owned()];
        if !layers.is_empty() {
            names.extend(self.area("/layers/etc", layers, super::layer)?);
        }
        let skeleton = if layers.is_empty() { &etc } else { &own };
        if layers.is_empty() {
            // The directory stands already.
            self.etc_files(skeleton, owners)?;
        } else {
            self.etc(skeleton, owners)?;
        }
        if alternatives.is_dir() {
            self.directory(&format!("{skeleton}/alternatives"))?;
        }
        if cache.is_file() {
            self.file(&format!("{skeleton}/ld.so.cache"), "")?;
        }
        if !layers.is_empty() {
            self.overlay("/layers/etc", &names, &etc)?;
        }
        if alternatives.is_dir() {
            self.attach(alternatives, Access::Read, &format!("{etc}/alternatives"))?;
        }
        if cache.is_file() {
            self.attach(cache, Access::Read, &format!("{etc}/ld.so.cache"))?;
        }
        Ok(())
    }
}

/// The directories at the top of `overlays`, by name: which trees have them, uppermost first.
fn tops(overlays: &[PathBuf]) -> Result<BTreeMap<String, Vec<PathBuf>>, SandboxError> {
    let mut tops: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for tree in overlays {
        let failed = |source| SandboxError::Source { path: tree.clone(), step: "read directory", source };
        for entry in fs::read_dir(tree).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Only directories can be layers; a file or link at the top of a tree is nothing a build needs.
            if !entry.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            if let Ok(name) = entry.file_name().into_string()
                && !OURS.contains(&name.as_str())
            {
                tops.entry(name).or_default().push(entry.path());
            }
        }
    }
    Ok(tops)
}
