//! What is going on, on stderr: bars on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Global;

/// Where progress and warnings go. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    mode: Mode,
    verbose: u8,
    bars: MultiProgress,
    warnings: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Quiet,
    Lines,
    Bars,
}

impl Progress {
    /// As the command line asks for it.
    pub(crate) fn new(global: &Global) -> Self {
        let mode = match (global.quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Bars,
            (false, false) => Mode::Lines,
        };
        let target = if mode == Mode::Bars {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            mode,
            verbose: global.verbose,
            bars: MultiProgress::with_draw_target(target),
            warnings: Arc::default(),
        }
    }

    /// One line about a step that is done.
    pub(crate) fn line(&self, text: &str) {
        if self.mode != Mode::Quiet {
            self.bars.suspend(|| anstream::eprintln!("{text}"));
        }
    }

    /// One line for those who want to know more.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.line(text);
        }
    }

    /// One line for those who want to know everything.
    pub(crate) fn trace(&self, text: &str) {
        if self.verbose > 1 {
            self.line(text);
        }
    }

    /// A warning: shown at once, and kept for the account of the build. Said once.
    pub(crate) fn warn(&self, text: &str) {
        let mut warnings = self
            .warnings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if warnings.iter().any(|said| said == text) {
            return;
        }
        warnings.push(text.to_owned());
        let yellow = anstyle::Style::new()
            .bold()
            .fg_color(Some(anstyle::AnsiColor::Yellow.into()));
        self.bars
            .suspend(|| anstream::eprintln!("{yellow}warning:{yellow:#} {text}"));
    }

    /// All warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// A bar over a number of bytes.
    pub(crate) fn bytes(&self, what: &str, total: u64) -> ProgressBar {
        self.bar(
            what,
            ProgressBar::new(total),
            "{msg:14} {wide_bar} {binary_bytes}/{binary_total_bytes}",
        )
    }

    /// A bar over a number of things.
    pub(crate) fn count(&self, what: &str, total: u64) -> ProgressBar {
        self.bar(
            what,
            ProgressBar::new(total),
            "{msg:14} {wide_bar} {pos}/{len}",
        )
    }

    /// Something that takes a while.
    pub(crate) fn spinner(&self, what: &str) -> ProgressBar {
        let bar = self.bar(what, ProgressBar::new_spinner(), "{spinner} {msg}");
        if self.mode == Mode::Bars {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }

    fn bar(&self, what: &str, bar: ProgressBar, template: &str) -> ProgressBar {
        let bar = self.bars.add(bar);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_message(what.to_owned())
            .with_finish(indicatif::ProgressFinish::AndClear)
    }
}
