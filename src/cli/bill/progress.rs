//! What is seen of a bill while it comes, and what is kept of it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::channels::sender::Transfer;
use crate::engine::bills::Follower;

const FRAME: Duration = Duration::from_millis(100);
const OWNER_ONLY: u32 = 0o600;

pub struct Watch {
    bar: ProgressBar,
    keep_at: Option<PathBuf>,
    /// Opened with the first bytes that it keeps.
    kept: Option<File>,
}

impl Watch {
    /// A bar at a terminal, and nothing elsewhere.
    pub fn new(keep_at: Option<&Path>) -> Self {
        let bar = if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(FRAME);
            bar.with_style(style("{spinner} fetching the bill, {binary_bytes} in {elapsed}"))
        } else {
            ProgressBar::hidden()
        };
        Watch { bar, keep_at: keep_at.map(Path::to_owned), kept: None }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Follower for Watch {
    fn transferred(&mut self, transfer: Transfer) {
        let bytes = u64::try_from(transfer.bytes).unwrap_or(u64::MAX);
        match transfer.of.filter(|of| self.bar.length() != Some(*of)) {
            Some(of) => {
                // At once, as the bar is drawn beside us and the answer before may have been longer.
                self.bar.update(|state| {
                    state.set_pos(bytes);
                    state.set_len(of);
                });
                let style = style("fetching the bill {bar:40} {binary_bytes} of {binary_total_bytes}, {eta} left");
                self.bar.set_style(style);
            }
            None => self.bar.set_position(bytes),
        }
    }

    fn received(&mut self, original: &[u8]) -> io::Result<()> {
        let Some(path) = &self.keep_at else { return Ok(()) };
        let file = match &mut self.kept {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(path)?;
                // One that was there before keeps its own otherwise.
                file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
                self.kept.insert(file)
            }
        };
        file.write_all(original)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
