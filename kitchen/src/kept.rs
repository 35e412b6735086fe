// kitchen/src/kept.rs
//! What lies beside a kept tree, so that somebody can go back into the room in which a step failed.
//!
//! `<store>/tmp/kept-<name>-<version>-…/room.json`, out of reach of the build itself. Format 1; another one is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sandbox::{Level, Limits, RootView};
use serde::{Deserialize, Serialize};
use store::Store;

use crate::step::Room;

/// The file's name.
pub(crate) const FILE: &str = "room.json";
/// What the names of kept trees begin with.
const KEPT: &str = "kept-";
const FORMAT: u32 = 1;

/// The room of a failed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    format: u32,
    /// The recipe's name.
    pub name: String,
    /// The step that failed.
    pub step: String,
    /// Whether the root shows nothing of the host.
    hermetic: bool,
    /// The trees of the root, uppermost first.
    layers: Vec<PathBuf>,
    /// All variables of the step.
    environment: BTreeMap<String, String>,
    /// Where it started, as it saw it.
    directory: String,
    /// Where the tree is; not in the file, for it may be moved.
    #[serde(skip)]
    place: PathBuf,
}

impl Kept {
    /// The room of a step of this package; `None` for a root that is no build's.
    #[must_use]
    pub fn new(name: &str, step: &str, room: &Room) -> Option<Self> {
        let (hermetic, layers) = match &room.root {
            RootView::Host { overlays } => (false, overlays.clone()),
            RootView::Layers { lowers } => (true, lowers.clone()),
            RootView::Caught { .. } => return None,
        };
        Some(Self {
            format: FORMAT,
            name: name.to_owned(),
            step: step.to_owned(),
            hermetic,
            layers,
            environment: room.environment.clone(),
            directory: room.directory.clone(),
            place: PathBuf::new(),
        })
    }

    /// The file's content.
    ///
    /// # Errors
    /// What serde says of a path that is no text.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The newest kept tree of a package, or the one in a directory.
    ///
    /// # Errors
    /// What the system says of the store's directory, or of a file that cannot be read. `Ok(None)` where there is none.
    pub fn find(store: &Store, name: &str) -> io::Result<Option<Self>> {
        if name.contains('/') {
            return Self::read(Path::new(name)).map(Some);
        }
        let mut newest: Option<(SystemTime, Self)> = None;
        for entry in fs::read_dir(store.directory().join("tmp"))? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(KEPT) {
                continue;
            }
            // A tree that was kept without isolation has no room, and one may be removed at any time.
            let (Ok(kept), Ok(made)) = (Self::read(&entry.path()), entry.path().join(FILE).metadata()) else {
                continue;
            };
            let made = made.modified()?;
            if kept.name == name && newest.as_ref().is_none_or(|(time, _)| *time < made) {
                newest = Some((made, kept));
            }
        }
        Ok(newest.map(|(_, kept)| kept))
    }

    fn read(place: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(place.join(FILE))?;
        let kept: Self = serde_json::from_str(&text).map_err(io::Error::other)?;
        if kept.format != FORMAT {
            return Err(io::Error::other(format!(
                "{FILE} has format {}, and this version reads {FORMAT}",
                kept.format
            )));
        }
        Ok(Self { place: place.to_owned(), ..kept })
    }

    /// The same room again.
    #[must_use]
    pub fn room(&self) -> Room {
        let layers = self.layers.clone();
        Room {
            root: if self.hermetic { RootView::Layers { lowers: layers } } else { RootView::Host { overlays: layers } },
            build: self.place.join("build"),
            dest: self.place.join("dest"),
            steps: self.place.join("steps"),
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            limits: Limits::default(),
            level: Level::Full,
        }
    }

    /// The directory of the outputs with an `install` of their own, where there are any.
    #[must_use]
    pub fn outputs(&self) -> PathBuf {
        self.place.join("outputs")
    }
}
