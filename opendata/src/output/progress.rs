//! How far long work is, on standard error.

use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// When progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// When standard error is a terminal.
    #[default]
    Auto,
    /// In any case; a line a second where there is no terminal.
    Always,
    /// Not at all.
    Never,
}

/// What is known of the end of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Unknown,
    Bytes(u64),
    /// It is done in parts, and how many there are is learnt on the way.
    Parts,
}

/// A bar where the end is known, a turning wheel where it is not. It disappears when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    lines: bool,
    doing: &'static str,
    end: End,
    items: u64,
    said: std::time::Instant,
}

impl Progress {
    pub(super) fn begin(when: When, doing: &'static str, end: End) -> Self {
        let watched = super::is_watched();
        let visible = watched && when != When::Never;
        let bar = match end {
            End::Bytes(total) => ProgressBar::new(total),
            End::Parts => ProgressBar::new(0),
            End::Unknown => ProgressBar::new_spinner(),
        };
        bar.set_draw_target(if visible {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        });
        let template = match end {
            End::Parts => "{prefix} {bar:30} {percent} %  {msg}  {elapsed}, {eta} left",
            End::Bytes(_) => "{prefix} {bar:30} {bytes}/{total_bytes}  {msg}  {elapsed}, {eta} left",
            End::Unknown => "{spinner} {prefix} {bytes}  {msg}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(doing);
        if visible {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let lines = !watched && when == When::Always;
        Self { bar, lines, doing, end, items: 0, said: std::time::Instant::now() }
    }

    /// So many more items, of so many bytes, are done.
    pub(crate) fn advance(&mut self, items: u64, bytes: u64) {
        self.advance_parts(items, bytes);
    }

    /// So many more parts are to be done.
    pub(crate) fn expect(&mut self, parts: u64) {
        self.bar.inc_length(parts);
    }

    /// So many more items are done, and parts of the work.
    pub(crate) fn advance_parts(&mut self, items: u64, parts: u64) {
        self.items += items;
        self.bar.inc(parts);
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate is for people")]
        let rate = self.items as f64 / seconds;
        let text = format!("{} done, {rate:.0}/s", self.items);
        if self.lines && self.said.elapsed() >= Duration::from_secs(1) {
            self.said = std::time::Instant::now();
            match (self.end, self.bar.length()) {
                (End::Parts, Some(all)) if all > 0 => {
                    let percent = self.bar.position().saturating_mul(100) / all;
                    let left = self.bar.eta().as_secs();
                    super::write_error(&format!("{}: {percent} %, {text}, {left} s left", self.doing));
                }
                _ => super::write_error(&format!("{}: {text}", self.doing)),
            }
        }
        self.bar.set_message(text);
    }

    /// Ends the work and says how much it was.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
        if self.lines {
            super::write_error(&format!(
                "{}: {} done in {:.1} s",
                self.doing,
                self.items,
                self.bar.elapsed().as_secs_f64()
            ));
        }
    }
}
