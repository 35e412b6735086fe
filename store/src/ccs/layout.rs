// store/src/ccs/layout.rs
//! Which object lies where in the payload: frames without gaps, cut by rule.
//!
//! ```text
//! objects   a  b    c               large object d (> 8 MiB)            e
//! frames   [a  b  ][c      ][d piece of 8 MiB][d piece of 8 MiB][d end][e ]
//! runs      packed  packed   large                                      packed
//! ```
//!
//! Positions are never written down, so they cannot lie: frame sizes and object sizes in order say everything, and
//! [`read`] refuses frames that do not add up. Format: docs/design/ccs.md, "Objects and the payload".

use std::ops::Range;

use super::limits::FRAME_BYTES;

/// Frames that are decoded by one thread, and the objects in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// One frame with whole objects, by their places in payload order.
    Packed {
        /// The frame.
        frame: usize,
        /// Its objects.
        objects: Range<usize>,
    },
    /// One object in several frames.
    Large {
        /// Its frames.
        frames: Range<usize>,
        /// The object.
        object: usize,
    },
}

/// Why frames do not fit the objects that they should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A frame without content.
    #[error("frame {frame} is empty")]
    Empty {
        /// The frame.
        frame: usize,
    },
    /// Objects cross a frame's end, or a piece of a large object has the wrong size.
    #[error("frame {frame} ends inside an object or holds more than its objects")]
    Boundary {
        /// The frame.
        frame: usize,
    },
    /// More content than objects, or the reverse.
    #[error("the frames hold more or less than the objects")]
    Sum,
}

/// Cuts objects of these sizes, none of them empty, into runs: a frame is closed when the next object does not fit.
pub fn plan(sizes: &[u64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut frames = 0;
    let mut first = 0;
    let mut filled = 0;
    for (object, &size) in sizes.iter().enumerate() {
        let large = size > FRAME_BYTES as u64;
        if filled > 0 && (large || filled + size > FRAME_BYTES as u64) {
            runs.push(Run::Packed { frame: frames, objects: first..object });
            frames += 1;
            (first, filled) = (object, 0);
        }
        if large {
            let end = frames + pieces(size);
            runs.push(Run::Large { frames: frames..end, object });
            frames = end;
            first = object + 1;
        } else {
            filled += size;
        }
    }
    if filled > 0 {
        runs.push(Run::Packed { frame: frames, objects: first..sizes.len() });
    }
    runs
}

/// Returns the sizes of the frames that a plan makes.
pub fn frame_sizes(runs: &[Run], sizes: &[u64]) -> Vec<u32> {
    let mut frames = Vec::new();
    for run in runs {
        match run {
            Run::Packed { objects, .. } => {
                frames.push(narrow(sizes[objects.clone()].iter().sum()));
            }
            Run::Large { frames: pieces, object } => {
                let last = pieces.len() as u64 - 1;
                frames.extend((0..last).map(|_| narrow(FRAME_BYTES as u64)));
                frames.push(narrow(sizes[*object] - last * FRAME_BYTES as u64));
            }
        }
    }
    frames
}

/// Finds the runs that frames of these sizes make of objects of these sizes.
///
/// # Errors
/// [`LayoutError`] naming the first frame that breaks a rule.
pub fn read(sizes: &[u64], frames: &[u32]) -> Result<Vec<Run>, LayoutError> {
    let mut runs = Vec::with_capacity(frames.len());
    let mut object = 0;
    let mut frame = 0;
    while frame < frames.len() {
        let room = u64::from(frames[frame]);
        if room == 0 {
            return Err(LayoutError::Empty { frame });
        }
        let Some(&size) = sizes.get(object) else {
            return Err(LayoutError::Sum);
        };
        if size > FRAME_BYTES as u64 {
            let end = frame + pieces(size);
            if end > frames.len() {
                return Err(LayoutError::Sum);
            }
            let mut rest = size;
            for (piece, &held) in frames[frame..end].iter().enumerate() {
                let whole = rest.min(FRAME_BYTES as u64);
                if u64::from(held) != whole {
                    return Err(LayoutError::Boundary { frame: frame + piece });
                }
                rest -= whole;
            }
            runs.push(Run::Large { frames: frame..end, object });
            object += 1;
            frame = end;
            continue;
        }
        let first = object;
        let mut filled = 0;
        while filled < room {
            // At most 8 MiB are added each time to less than 4 GiB.
            match sizes.get(object) {
                Some(&size) if size <= FRAME_BYTES as u64 => filled += size,
                Some(_) => return Err(LayoutError::Boundary { frame }),
                None => return Err(LayoutError::Sum),
            }
            object += 1;
        }
        if filled != room {
            return Err(LayoutError::Boundary { frame });
        }
        runs.push(Run::Packed { frame, objects: first..object });
        frame += 1;
    }
    if object != sizes.len() {
        return Err(LayoutError::Sum);
    }
    Ok(runs)
}

/// Returns the number of pieces of a large object; more than there can be frames when it is absurd.
fn pieces(size: u64) -> usize {
    usize::try_from(size.div_ceil(FRAME_BYTES as u64)).unwrap_or(usize::MAX >> 1)
}

/// Narrows the size of a frame, which is at most 8 MiB.
fn narrow(size: u64) -> u32 {
    u32::try_from(size).expect("because a frame holds at most 8 MiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const F: u64 = FRAME_BYTES as u64;

    #[test]
    fn objects_are_packed_and_large_ones_cut() {
        let sizes = [3, F - 3, 1, 2 * F + 5, 7, F, F + 1];
        let runs = plan(&sizes);
        assert_eq!(
            runs,
            [
                Run::Packed { frame: 0, objects: 0..2 },
                Run::Packed { frame: 1, objects: 2..3 },
                Run::Large { frames: 2..5, object: 3 },
                Run::Packed { frame: 5, objects: 4..5 },
                Run::Packed { frame: 6, objects: 5..6 },
                Run::Large { frames: 7..9, object: 6 },
            ]
        );
        let f = u32::try_from(F).unwrap();
        let frames = frame_sizes(&runs, &sizes);
        assert_eq!(frames, [f, 1, f, f, 5, 7, f, f, 1]);
        assert_eq!(read(&sizes, &frames).unwrap(), runs);
        assert!(plan(&[]).is_empty() && read(&[], &[]).unwrap().is_empty());
    }

    #[test]
    fn a_reader_takes_frames_that_are_not_full() {
        let runs = read(&[1, 2, 3], &[3, 3]).unwrap();
        assert_eq!(runs[1], Run::Packed { frame: 1, objects: 2..3 });
    }

    #[test]
    fn frames_that_do_not_add_up_are_refused() {
        let f = u32::try_from(F).unwrap();
        let cases: [(&[u64], &[u32], LayoutError); 11] = [
            (&[], &[1], LayoutError::Sum),
            (&[1], &[], LayoutError::Sum),
            (&[1], &[0, 1], LayoutError::Empty { frame: 0 }),
            (&[1], &[1, 0], LayoutError::Empty { frame: 1 }),
            (&[2], &[1, 1], LayoutError::Boundary { frame: 0 }),
            (&[1], &[2], LayoutError::Sum),
            (&[1, 2], &[1, 1], LayoutError::Boundary { frame: 1 }),
            (&[1, F + 1], &[2, f], LayoutError::Boundary { frame: 0 }),
            (&[F + 1], &[f, 2], LayoutError::Boundary { frame: 1 }),
            (&[F + 1], &[f], LayoutError::Sum),
            (&[u64::MAX, u64::MAX], &[f, f], LayoutError::Sum),
        ];
        for (sizes, frames, error) in cases {
            assert_eq!(read(sizes, frames).unwrap_err(), error, "{sizes:?} {frames:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_planned_reads_back(sizes in proptest::collection::vec(1_u64..3 * F, 0..40)) {
            let runs = plan(&sizes);
            let frames = frame_sizes(&runs, &sizes);
            prop_assert!(frames.iter().all(|size| (1..=F).contains(&u64::from(*size))));
            prop_assert_eq!(read(&sizes, &frames).unwrap(), runs);
        }

        #[test]
        fn any_frames_are_refused_or_cover_everything(
            sizes in proptest::collection::vec(1_u64..6, 0..6),
            frames in proptest::collection::vec(0_u32..8, 0..6),
        ) {
            if let Ok(runs) = read(&sizes, &frames) {
                prop_assert_eq!(sizes.iter().sum::<u64>(), frames.iter().map(|size| u64::from(*size)).sum::<u64>());
                prop_assert_eq!(runs.len(), frames.len());
            }
        }
    }
}
