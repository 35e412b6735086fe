// conary/ui/live.rs
//! Live lines below the story: what goes on at this moment, on a terminal only.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a live line is drawn anew, for its clock.
const TICK: Duration = Duration::from_millis(100);

/// All live lines.
#[derive(Debug)]
pub struct Live {
    lines: MultiProgress,
}

/// One live line. It goes away when this value does.
#[derive(Debug)]
pub struct Task {
    line: Option<ProgressBar>,
}

impl Live {
    /// Lines at the end of stderr.
    pub fn new() -> Self {
        Self { lines: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()) }
    }

    /// A line with a clock.
    pub fn task(&self, verb: &str, what: &str) -> Task {
        self.add(ProgressBar::new_spinner(), "{prefix} {wide_msg} {elapsed}", verb, what)
    }

    /// A line that counts bytes.
    pub fn bar(&self, verb: &str, what: &str, total: Option<u64>) -> Task {
        match total {
            Some(total) => {
                let template = "{prefix} {msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                self.add(ProgressBar::new(total), template, verb, what)
            }
            None => self.add(ProgressBar::new_spinner(), "{prefix} {msg} {bytes} {bytes_per_sec}", verb, what),
        }
    }

    /// Does `work` while no live line is on the screen.
    pub fn suspended<R>(&self, work: impl FnOnce() -> R) -> R {
        self.lines.suspend(work)
    }

    fn add(&self, line: ProgressBar, template: &str, verb: &str, what: &str) -> Task {
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .progress_chars("=> ");
        let line = self.lines.add(line.with_style(style).with_prefix(verb.to_owned()).with_message(what.to_owned()));
        line.enable_steady_tick(TICK);
        Task { line: Some(line) }
    }
}

impl Task {
    /// A line that is never seen.
    pub fn hidden() -> Self {
        Self { line: None }
    }

    /// Sets the number of bytes that are done.
    pub fn position(&self, bytes: u64) {
        if let Some(line) = &self.line {
            line.set_position(bytes);
        }
    }

    /// Replaces the words of the line.
    pub fn words(&self, what: &str) {
        if let Some(line) = &self.line {
            line.set_message(super::text::safe(what).into_owned());
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_understood() {
        for template in [
            "{prefix} {wide_msg} {elapsed}",
            "{prefix} {msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            "{prefix} {msg} {bytes} {bytes_per_sec}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
