// store/src/ccs/object.rs
//! One object out of a package, checked by its digest.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use recipes::Digest;

use super::import::Work;
use super::layout::Run;
use super::limits::FRAME_BYTES;
use super::{CcsError, Package, contents};

impl Package {
    /// Reads the content of one object; `None` when the package has no such object. Memory: the content, and one frame
    /// for each thread.
    ///
    /// # Errors
    /// [`CcsError`] when the payload is damaged there.
    pub fn read_object(&self, object: &Digest, cancel: &AtomicBool) -> Result<Option<Vec<u8>>, CcsError> {
        if *object == contents::empty() {
            return Ok(Some(Vec::new()));
        }
        let objects = self.objects()?;
        let Some(place) = self.index.order.iter().position(|number| objects[*number as usize].digest == *object) else {
            return Ok(None);
        };
        let work = Work::new(self.payload(), &objects, cancel, &|_, _| {}, 0);
        let found = self.runs.iter().find(|run| match run {
            Run::Packed { objects, .. } => objects.contains(&place),
            Run::Large { object, .. } => *object == place,
        });
        let content = Mutex::new(Vec::new());
        let fill = |offset: usize, bytes: &[u8]| {
            let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
            if content.len() < offset + bytes.len() {
                content.resize(offset + bytes.len(), 0);
            }
            content[offset..offset + bytes.len()].copy_from_slice(bytes);
            Ok(())
        };
        match found {
            Some(Run::Packed { frame, objects }) => {
                work.packed(*frame, objects.clone(), |at| at == place, |_, _, bytes| fill(0, bytes))?;
            }
            Some(Run::Large { frames, object }) => {
                work.large(frames.clone(), *object, |offset, bytes| {
                    let frame = usize::try_from(offset).unwrap_or(usize::MAX) / FRAME_BYTES;
                    fill(frame * FRAME_BYTES, bytes)
                })?;
            }
            None => return Ok(None),
        }
        Ok(Some(content.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}
